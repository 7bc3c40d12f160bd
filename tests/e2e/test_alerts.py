"""Alerts with real programs: simulated nodes → collector → a webhook receiver; killed nodes, a killed collector."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.hook import Hook
from tests.e2e.programs import Collector, Sim, until

NODES, DEVICES = 3, 2

RULES = """
[[rule]]
name = "NodeLost"
over = "node"
expr = "seen AND NOT connected"
for_s = 1
keep_s = 5
severity = "critical"
annotations.summary = "$node is lost"

[[rule]]
name = "DeviceSilent"
over = "device"
expr = "freshness = 'lost'"
severity = "info"
labels.test = "silent"
annotations.summary = "$uuid on $node is silent"
"""


@pytest.fixture
def sink() -> Iterator[Hook]:
    with Hook() as hook:
        yield hook


@pytest.fixture
def collector(tmp_path: Path, sink: Hook) -> Collector:
    rules, secret = tmp_path / "rules.toml", tmp_path / "secret"
    rules.write_text(RULES)
    secret.write_text("of this test")
    secret.chmod(0o600)
    return Collector(
        tmp_path, f'alerts.rules = ["{rules}"]', "alerts.interval_s = 1", "alerts.group_wait_s = 3",
        "alerts.group_interval_s = 1", "idle.lost_s = 12",
        "[[alerts.receivers]]", 'name = "ops"', 'type = "webhook"', f'url = "{sink.url}"',
        f'secret_file = "{secret}"', 'matchers = [\'alertname=~"NodeLost|DeviceSilent"\']',
    )


def fleet(folder: Path, collector: Collector) -> Sim:
    return Sim(folder, collector.grpc, "--nodes", str(NODES), "--devices", str(DEVICES))


def wait_until_connected(collector: Collector) -> list[str]:
    """The nodes' names."""
    def connected() -> list[str]:
        nodes = collector.fallow_json("nodes")["items"]
        return [node["node"] for node in nodes if node["connected"] and node["freshness"] == "live"]

    return sorted(until(lambda: names if len(names := connected()) == NODES else None, "all nodes are connected"))


def over(sink: Hook) -> bool:
    """Whether of all nodes it was told that they are back; they may come back one by one."""
    return list(sink.standing().values()) == NODES * ["resolved"]


def firing(collector: Collector, severity: str) -> int:
    name = f'fallow_alerts{{state="firing",severity="{severity}"}}'
    lines = httpx.get(f"{collector.url}/metrics", trust_env=False).text.splitlines()
    return round(float(next(line.rpartition(" ")[2] for line in lines if line.startswith(name))))


def test_lost_nodes_are_told_once_together_without_their_devices_and_again_when_they_are_back(
    tmp_path: Path, sink: Hook, collector: Collector
) -> None:
    with collector:
        sim = fleet(tmp_path, collector)
        with sim:
            names = wait_until_connected(collector)
            assert sink.told == []
            sim.kill()
        until(lambda: sink.alerts(), "somebody is told")
        assert sink.alerts() == [("NodeLost", "firing", names)]
        # Their devices are silent by now; that is an alert each, and nobody is told.
        until(lambda: firing(collector, "info") >= NODES * DEVICES or None, "their devices are silent")
        with sim:
            until(lambda: over(sink), "the end is told")
            assert collector.stop() == 0
            collector.start()
            wait_until_connected(collector)
        assert [rule for rule, _, _ in sink.alerts()] == ["NodeLost"] * len(sink.alerts()), "never their devices"
        assert "BUG" not in collector.log.read_text()


def test_what_fires_when_the_collector_is_killed_is_told_after_it_under_the_same_id_and_so_is_its_end(
    tmp_path: Path, sink: Hook, collector: Collector
) -> None:
    sink.status = 503
    with collector:
        sim = fleet(tmp_path, collector)
        with sim:
            names = wait_until_connected(collector)
            sim.kill()
        until(lambda: sink.told or None, "it was tried to tell somebody")
        collector.kill()
        first = sink.told[0][0]
        assert first
        sink.status = 200
        collector.start()
        until(lambda: sink.accepted() or None, "somebody is told")
        assert {identity for identity, _, _ in sink.told} == {first}, "a repeat is known by its id"
        assert sink.alerts() == [("NodeLost", "firing", names)]
        with sim:
            until(lambda: over(sink), "the end is told")
