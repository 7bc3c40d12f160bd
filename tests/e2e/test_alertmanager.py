"""Alerts pushed to Debian's Alertmanager, which delivers them on; and what it sends beside what we send ourselves."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.hook import Hook
from tests.e2e.programs import Collector, Program, Sim, until
from tests.ports import free_port

pytestmark = pytest.mark.server("prometheus-alertmanager")

RULES = """
[[rule]]
name = "NodeLost"
over = "node"
expr = "seen AND NOT connected"
for_s = 1
severity = "critical"
annotations.summary = "$node is lost"
"""


class Alertmanager(Program):
    """Delivers each alert to a webhook, grouped as our collector does, by a route of the matchers of our receiver."""

    def __init__(self, folder: Path, hook: Hook) -> None:
        folder.mkdir()
        config = folder / "alertmanager.yml"
        config.write_text(
            "route: {receiver: onward, group_by: [alertname, site], group_wait: 1s, group_interval: 1s,\n"
            "  routes: [{matchers: ['alertname=\"NodeLost\"']}]}\n"
            f"receivers: [{{name: onward, webhook_configs: [{{url: '{hook.url}', send_resolved: true}}]}}]\n"
        )
        place = f"127.0.0.1:{free_port()}"
        self.url = f"http://{place}"
        super().__init__(
            folder, "prometheus-alertmanager", f"--config.file={config}", f"--storage.path={folder / 'data'}",
            f"--web.listen-address={place}", "--cluster.listen-address=",
        )
        self._command[0] = shutil.which(self.name) or self.name

    def start(self) -> None:
        super().start()
        until(self._ready, "the Alertmanager is ready")

    def alerts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/api/v2/alerts", trust_env=False).json()
        return found

    def silence(self, name: str) -> None:
        answer = httpx.post(f"{self.url}/api/v2/silences", trust_env=False, json={
            "matchers": [{"name": "alertname", "value": name, "isRegex": False, "isEqual": True}],
            "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z",
            "createdBy": "test", "comment": "test",
        })
        assert answer.status_code == 200, answer.text

    def _ready(self) -> bool:
        self.check()
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def onward() -> Iterator[Hook]:
    """What Alertmanager delivers to."""
    with Hook() as hook:
        yield hook


@pytest.fixture
def own() -> Iterator[Hook]:
    """What the collector delivers to."""
    with Hook() as hook:
        yield hook


@pytest.fixture
def manager(tmp_path: Path, onward: Hook) -> Iterator[Alertmanager]:
    with Alertmanager(tmp_path / "alertmanager", onward) as running:
        yield running


@pytest.fixture
def collector(tmp_path: Path, own: Hook, manager: Alertmanager) -> Iterator[Collector]:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    with Collector(
        tmp_path, f'alerts.rules = ["{rules}"]', "alerts.interval_s = 1", "alerts.group_wait_s = 1",
        "alerts.group_interval_s = 1", 'alerts.external_url = "https://fallow.example"',
        "[[alerts.receivers]]", 'name = "manager"', 'type = "alertmanager"', f'url = "{manager.url}"',
        "matchers = ['alertname=\"NodeLost\"']",
        "[[alerts.receivers]]", 'name = "own"', 'type = "webhook"', f'url = "{own.url}"',
        "matchers = ['alertname=\"NodeLost\"']",
    ) as running:
        yield running


def connected(collector: Collector) -> bool:
    return any(node["connected"] for node in collector.fallow_json("nodes")["items"])


def lose(collector: Collector, sim: Sim) -> None:
    with sim:
        until(lambda: connected(collector), "the node is connected")
        sim.kill()


def test_a_lost_node_is_delivered_on_once_with_its_end_and_as_we_would_have_sent_it(
    tmp_path: Path, collector: Collector, manager: Alertmanager, onward: Hook, own: Hook
) -> None:
    sim = Sim(tmp_path, collector.grpc, "--nodes", "1", "--devices", "1")
    lose(collector, sim)
    until(lambda: onward.accepted() and own.accepted(), "both are told")
    theirs, ours = onward.accepted()[0], own.accepted()[0]
    check_alike(ours, theirs)
    (standing,) = manager.alerts()
    (shown,) = collector.fallow_json("alerts", "--rule", "NodeLost")["items"]
    assert shown["fingerprint"] == standing["fingerprint"] == ours["alerts"][0]["fingerprint"]
    with sim:
        until(lambda: len(onward.accepted()) > 1 and len(own.accepted()) > 1, "both are told of the end")
    assert onward.alerts() == own.alerts() == [
        ("NodeLost", "firing", ["sim-00000"]), ("NodeLost", "resolved", ["sim-00000"]),
    ]
    check_alike(own.accepted()[1], onward.accepted()[1])


def test_a_silence_in_alertmanager_is_its_own_business(
    tmp_path: Path, collector: Collector, manager: Alertmanager, onward: Hook, own: Hook
) -> None:
    manager.silence("NodeLost")
    sim = Sim(tmp_path, collector.grpc, "--nodes", "1", "--devices", "1")
    lose(collector, sim)
    until(lambda: own.accepted(), "we tell of it ourselves")
    standing = until(lambda: [one["status"]["state"] for one in manager.alerts()], "Alertmanager has it")
    assert standing == ["suppressed"]
    (shown,) = collector.fallow_json("alerts", "--rule", "NodeLost")["items"]
    assert (shown["state"], shown["silenced_by"]) == ("firing", [])
    receivers = {one["name"]: one["problem"] for one in collector.fallow_json("alerts", "receivers")["items"]}
    assert receivers == {"manager": None, "own": None}
    with sim:
        until(lambda: len(own.accepted()) > 1, "we tell of the end")
    assert onward.told == []


def check_alike(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Every key of Alertmanager's message is in ours, with a value of its kind; what names an alert is the same."""
    assert theirs.keys() - ours.keys() == set()
    assert ours.keys() - theirs.keys() <= {"notification_reason"}, "later than Debian's version"
    for key, value in theirs.items():
        assert type(ours[key]) is type(value), key
    for key in ("version", "status", "groupKey", "groupLabels", "commonLabels", "commonAnnotations", "truncatedAlerts"):
        assert ours[key] == theirs[key], key
    for mine, other in zip(ours["alerts"], theirs["alerts"], strict=True):
        assert mine.keys() == other.keys()
        for key in ("status", "labels", "annotations", "fingerprint", "generatorURL", "startsAt"):
            assert mine[key] == other[key], key
        if mine["status"] == "firing":
            assert mine["endsAt"] == other["endsAt"] == "0001-01-01T00:00:00Z"
        else:
            assert mine["endsAt"] > mine["startsAt"]
