"""NVIDIA's driver and boards go wrong under a real agent: unknown or absent with a reason, nothing else disturbed, and
well again by itself once it is over.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from fallow_proto import api
from tests.e2e.buses import Bus
from tests.e2e.programs import Agent, Collector, until
from tests.simulators.nvml.scenario import Device, Scenario, h100
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")

DRIVER_NOT_LOADED, VERSION_MISMATCH = 9, 18
BOARDS = tuple(replace(h100(number), energy_since_s=0.0) for number in range(8))


class Node(NamedTuple):
    nvml: Simulator
    bus: Bus
    collector: Collector
    state: Path  # the collector's file

    def phases(self) -> set[str]:
        """Of the eight boards; empty of one that was never seen."""
        devices = self.collector.devices()
        return {devices[board.uuid].phase if board.uuid in devices else "" for board in BOARDS}

    def reasons(self) -> set[str]:
        """Of the eight boards."""
        devices = self.collector.devices()
        return {reason for board in BOARDS for reason in devices[board.uuid].reasons}

    def reader(self) -> str:
        """The state of the nvidia reader and why."""
        node = self.collector.node("n1")
        readers = node.readers if node else []
        return next((f"{each.state}: {each.message}" for each in readers if each.name == "nvidia"), "")

    def told(self) -> set[str]:
        """Kinds of all events that the collector has kept."""
        with closing(sqlite3.connect(f"file:{self.state}?mode=ro", uri=True)) as connection:
            return {kind for (kind,) in connection.execute("SELECT kind FROM events")}

    def host(self) -> api.Device:
        return next(device for device in self.collector.devices().values() if device.device_class == "general")


def address(board: Device) -> str:
    return f"{board.pci_domain:04x}:{board.pci_bus:02x}:{board.pci_device:02x}.0"


@pytest.fixture
def node(tmp_path: Path, nvml: Simulator) -> Iterator[Node]:
    """Eight boards, all of them idle, and the host that they are in."""
    nvml.play(Scenario(BOARDS))
    bus = Bus(tmp_path / "sys")
    for board in BOARDS:
        bus.put(address(board))
    with Collector(tmp_path, "idle.confirm_s = 2", "idle.confirm_readings = 3") as collector:
        agent = Agent(
            tmp_path, collector.grpc, 'readers.enabled = ["nvidia", "host"]', "interval_s = 0.5",
            more_environment=nvml.environment,
        )
        agent.under = bus.under
        with agent:
            node = Node(nvml, bus, collector, tmp_path / "collector/state.sqlite")
            until(lambda: node.phases() == {"idle"}, "eight boards are idle")
            yield node


def test_no_devices_while_the_bus_shows_eight_is_a_failure_to_read_and_no_unloaded_driver(node: Node) -> None:
    node.nvml.play(Scenario())
    until(lambda: node.phases() & {"idle"} == set(), "none is idle any more")
    until(lambda: "NVML sees no device, but there are 8" in node.reader(), "the reader says what it found")
    until(lambda: "read_failed" in node.reasons(), "each says why")
    assert node.phases() <= {"unknown", "faulty"}
    assert "driver_unloaded" not in node.told()
    assert node.host().freshness == "live"

    node.nvml.play(Scenario(BOARDS))
    until(lambda: node.phases() == {"idle"}, "idle again")
    assert node.reader() == "ok: "
    assert "device_vanished" not in node.told()


def test_a_driver_that_is_unloaded_with_boards_on_the_bus_leaves_them_unknown(node: Node) -> None:
    node.nvml.play(replace(node.nvml.scenario, faults={"*": DRIVER_NOT_LOADED}))
    for board in BOARDS:
        node.bus.unbind(address(board))
    until(lambda: node.phases() == {"unknown"}, "all are unknown")
    assert node.reasons() >= {"driver_unusable"}
    until(lambda: "driver is not loaded, but there are 8" in node.reader(), "the reader says what it found")
    assert "(kernel driver: none)" in node.reader()
    until(lambda: "driver_unloaded" in node.told(), "the event is told")
    assert node.host().freshness == "live"

    node.nvml.play(replace(node.nvml.scenario, faults={}))
    until(lambda: node.phases() == {"idle"}, "idle again")
    until(lambda: "driver_loaded" in node.told(), "that event is told as well")


def test_a_driver_that_is_upgraded_under_the_agent_leaves_its_boards_unknown_until_it_fits_again(node: Node) -> None:
    node.nvml.play(replace(node.nvml.scenario, faults={"*": VERSION_MISMATCH}))
    until(lambda: node.phases() == {"unknown"}, "all are unknown")
    until(lambda: "of different versions" in node.reader(), "the reader says what it found")
    assert node.host().freshness == "live"

    node.nvml.play(replace(node.nvml.scenario, faults={}, driver_version="590.10"))
    until(lambda: node.phases() == {"idle"}, "idle again")
    until(lambda: {"driver_unloaded", "driver_loaded"} <= node.told(), "both events are told")


@pytest.mark.parametrize(("stays_on_the_bus", "phase", "reason"), [
    (True, "unknown", "unread"),
    (False, "absent", "absent"),
])
def test_a_board_that_vanishes_is_unread_while_the_bus_shows_it_and_else_absent(
    node: Node, stays_on_the_bus: bool, phase: str, reason: str
) -> None:
    gone, others = BOARDS[3], (*BOARDS[:3], *BOARDS[4:])
    if not stays_on_the_bus:
        node.bus.take(address(gone))
    node.nvml.play(Scenario(others))
    until(lambda: reason in node.collector.devices()[gone.uuid].reasons, "it says why")
    devices = node.collector.devices()
    assert devices[gone.uuid].phase == phase
    assert {devices[board.uuid].phase for board in others} == {"idle"}
    until(lambda: "device_vanished" in node.told(), "the event is told")
    assert "driver_unloaded" not in node.told()

    if not stays_on_the_bus:
        node.bus.put(address(gone))
    node.nvml.play(Scenario(BOARDS))
    until(lambda: node.phases() == {"idle"}, "idle again")
    until(lambda: "device_appeared" in node.told(), "that event is told as well")
