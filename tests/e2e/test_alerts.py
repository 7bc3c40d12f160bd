"""Alerts with real programs: simulated nodes → collector → a webhook receiver; killed nodes, a killed collector."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.e2e.programs import Collector, Sim, until

NODES, DEVICES = 3, 2

RULES = """
[[rule]]
name = "NodeLost"
over = "node"
expr = "seen AND NOT connected"
for_s = 1
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


@dataclass
class Sink:
    """A receiver. status: what it answers. told: (id, status that was answered, message), as they came."""

    status: int = 200
    told: list[tuple[str, int, dict[str, object]]] = field(default_factory=list)
    url: str = ""

    def accepted(self) -> list[dict[str, object]]:
        return [message for _, status, message in self.told if status == 200]

    def alerts(self) -> list[tuple[str, str, list[str]]]:
        """Of each message that was accepted: the rule, its status, the nodes."""
        return [
            (message["commonLabels"]["alertname"], message["status"],  # type: ignore[index, misc]
             sorted(alert["labels"]["node"] for alert in message["alerts"]))  # type: ignore[attr-defined]
            for message in self.accepted()
        ]


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sink.told.append((self.headers["webhook-id"] or "", sink.status, json.loads(body)))
            self.send_response(sink.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        sink.url = f"http://127.0.0.1:{server.server_port}/alerts"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield sink
        server.shutdown()
        thread.join()


@pytest.fixture
def collector(tmp_path: Path, sink: Sink) -> Collector:
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


def firing(collector: Collector, severity: str) -> int:
    name = f'fallow_alerts{{state="firing",severity="{severity}"}}'
    lines = httpx.get(f"{collector.url}/metrics", trust_env=False).text.splitlines()
    return round(float(next(line.rpartition(" ")[2] for line in lines if line.startswith(name))))


def test_lost_nodes_are_told_once_together_without_their_devices_and_again_when_they_are_back(
    tmp_path: Path, sink: Sink, collector: Collector
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
            until(lambda: len(sink.alerts()) > 1 or None, "the end is told")
            assert sink.alerts() == [("NodeLost", "firing", names), ("NodeLost", "resolved", names)]
            assert collector.stop() == 0
            collector.start()
            wait_until_connected(collector)
        assert [rule for rule, _, _ in sink.alerts()] == ["NodeLost"] * len(sink.alerts()), "never their devices"
        assert "BUG" not in collector.log.read_text()


def test_what_fires_when_the_collector_is_killed_is_told_after_it_under_the_same_id_and_so_is_its_end(
    tmp_path: Path, sink: Sink, collector: Collector
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
            until(lambda: len(sink.alerts()) > 1 or None, "the end is told")
            assert sink.alerts()[1:] == [("NodeLost", "resolved", names)]
