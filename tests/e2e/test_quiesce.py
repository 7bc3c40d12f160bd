"""A node's devices are let go of over the collector: never idle meanwhile, whatever restarts, and idle again after."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from fallow_client.client import Client
from fallow_proto import api
from tests.e2e.programs import Agent, Collector, until
from tests.simulators.nvml.scenario import Scenario, h100
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")

BOARDS = (h100(0), h100(1))


class Node(NamedTuple):
    collector: Collector
    agent: Agent
    state: Path  # the collector's file

    def phases(self) -> list[str]:
        devices = self.collector.devices()
        return sorted(devices[board.uuid].phase if board.uuid in devices else "" for board in BOARDS)

    def reasons(self) -> list[list[str]]:
        devices = self.collector.devices()
        return [devices[board.uuid].reasons for board in BOARDS]

    def never_idle_until(self, look: Callable[[list[str]], bool], what: str) -> None:
        """look: at the phases, of which none is idle in any answer until then."""
        def found() -> bool:
            phases = self.phases()
            assert "idle" not in phases
            return look(phases)
        until(found, what)

    def told(self) -> set[str]:
        with closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True)) as connection:
            return {kind for (kind,) in connection.execute("SELECT kind FROM events")}


@pytest.fixture
def node(tmp_path: Path, nvml: Simulator) -> Iterator[Node]:
    """Two idle boards."""
    nvml.play(Scenario(BOARDS))
    with Collector(tmp_path, "idle.confirm_s = 2", "idle.confirm_readings = 3") as collector:
        agent = Agent(
            tmp_path, collector.grpc, 'readers.enabled = ["nvidia", "host"]', "interval_s = 0.5",
            more_environment=nvml.environment,
        )
        with agent:
            node = Node(collector, agent, tmp_path / "collector/state.sqlite")
            until(lambda: node.phases() == ["idle", "idle"], "both boards are idle")
            yield node


def test_devices_of_a_quiesced_node_are_never_idle_until_it_resumes(node: Node) -> None:
    said = node.collector.fallow("quiesce", "n1", "--for", "10m")
    assert "n1: its readers have let go" in said
    assert "reader nvidia quiesced: until 20" in said
    node.never_idle_until(lambda phases: phases == ["unknown", "unknown"], "they are unknown")
    assert all("quiesced" in reasons for reasons in node.reasons())
    assert node.collector.fallow("fit", status=3)
    until(lambda: "reader_quiesced" in node.told(), "the event is told")

    for restarted in (node.collector, node.agent):
        restarted.kill()
        restarted.start()
        node.never_idle_until(lambda _: all("quiesced" in each for each in node.reasons()), "it is not forgotten")
        node.never_idle_until(lambda phases: phases == ["unknown", "unknown"], "they are unknown")
        assert "reader nvidia quiesced" in node.collector.fallow("nodes")

    assert "n1: its readers are back" in node.collector.fallow("quiesce", "n1", "--resume")
    until(lambda: node.phases() == ["idle", "idle"], "they are verified and idle again")
    until(lambda: "reader_recovered" in node.told(), "that event is told as well")


def test_a_node_whose_devices_are_leased_is_quiesced_by_force_only_and_the_lease_goes_on(node: Node) -> None:
    lease = node.collector.fallow_json("reserve", "--holder", "alice", "--ttl", "10m")
    (held,) = [device["uuid"] for device in lease["devices"]]
    node.collector.fallow("quiesce", "n1", "--for", "10m", status=1)
    assert "quiesced" not in {reader.state for reader in _readers(node)}
    done = node.collector.fallow_json("quiesce", "n1", "--for", "10m", "--force")
    assert (done["done"], done["held"]) == (True, [held])
    until(lambda: node.phases() == ["leased", "unknown"], "the commitment stays")
    with Client(node.collector.url) as client:
        assert client.quiesce("n1", 300.0, force=True).held == [held]
        assert client.resume("n1").done
    assert node.collector.fallow_json("leases")["items"][0]["lease_id"] == lease["lease_id"]


def test_a_node_that_is_not_there_says_what_works_without_it(node: Node) -> None:
    node.agent.kill()
    until(lambda: (found := node.collector.node("n1")) is not None and not found.connected, "its stream is gone")
    node.collector.fallow("quiesce", "n1", "--for", "10m", status=1)
    node.collector.fallow("quiesce", "nowhere", "--for", "10m", status=1)
    for time in ("25h", "4s"):
        node.collector.fallow("quiesce", "n1", "--for", time, status=2)


def _readers(node: Node) -> list[api.Reader]:
    found = node.collector.node("n1")
    return list(found.readers) if found else []
