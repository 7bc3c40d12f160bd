"""Disks that are full or break down: nothing stops but what needs the disk, and it comes back when there is space."""

import time
from pathlib import Path

import httpx
import pytest

from fallow_client import Client, Request
from fallow_client.errors import FallowError
from tests.e2e.programs import until
from tests.faults.audit import breaks_in_spool
from tests.faults.disks import Disk, fill, small_disk
from tests.faults.programs import Scene
from tests.faults.table import record, row_of

pytestmark = pytest.mark.server("cc")

STORE = ("store.embedded.min_free_gib = 0", "idle.confirm_s = 2", "idle.confirm_readings = 3")
IN_MEMORY = "reports wait in memory and end with the agent"


def problems(scene: Scene) -> str:
    """Why the collector is not ready; empty: it is."""
    answer = httpx.get(f"{scene.collector.url}/readyz", trust_env=False)
    return "" if answer.is_success else answer.text


def acknowledged(scene: Scene) -> set[int]:
    return set(scene.tap.acknowledged[scene.node.name])


def is_shown_live(scene: Scene, made: int) -> bool:
    """Whether what the collector shows of the board now is not one of its first readings."""
    device = scene.collector.devices()[scene.node.board]
    return round((device.energy_joules_total or 0) * 1000) in scene.node.made()[made:]


def goes_on_live(scene: Scene) -> None:
    made = len(scene.node.made())
    until(lambda: is_shown_live(scene, made), "the collector shows a reading that was made just now")
    until(lambda: is_offered(scene), "the board is offered")


def is_offered(scene: Scene) -> bool:
    return scene.collector.devices()[scene.node.board].phase == "idle"


def test_a_full_disk_of_the_agent_costs_nothing_but_durability(tmp_path: Path, nvml_library: Path) -> None:
    with small_disk(tmp_path / "n0" / "agent", kib=1024) as disk, Scene(tmp_path, nvml_library, *STORE) as scene:
        node = scene.node
        until(lambda: acknowledged(scene), "an acknowledgement")
        filler = fill(disk)
        until(lambda: IN_MEMORY in node.agent.tail(), "the agent says that its disk is full")
        before = len(acknowledged(scene))
        until(lambda: len(acknowledged(scene)) > before + 5, "readings are acknowledged all the same")
        scene.collector.kill()
        node.wait_for_readings(20)
        node.agent.check()
        filler.unlink()
        began = time.monotonic()
        node.stop()
        assert not breaks_in_spool(node.spool)
        assert len(node.owed) > 15
        scene.collector.start()
        node.start()
        until(lambda: node.owed <= scene.shown(node), "what was in memory is stored")
        recovery_s = time.monotonic() - began
        scene.settle()
        found = scene.verdicts()
    record(row_of("disk of the agent full", 1, found, recovery_s))
    [verdict] = found
    assert not verdict.lost
    assert not verdict.doubled
    assert not verdict.invented


def test_a_full_disk_of_the_collector_stops_acknowledgements_and_leases_and_nothing_else(
    tmp_path: Path, nvml_library: Path
) -> None:
    with small_disk(tmp_path / "collector", kib=8192) as disk, Scene(tmp_path, nvml_library, *STORE) as scene:
        until(lambda: acknowledged(scene), "an acknowledgement")
        filler = fill(disk)
        until(lambda: "store" in problems(scene), "the collector says that its store cannot commit")
        before = acknowledged(scene)
        goes_on_live(scene)
        with Client(scene.collector.url) as fallow, pytest.raises(FallowError, match="disk"):
            fallow.reserve(Request(count=1, vendor=["nvidia"]), holder="tests")
        assert acknowledged(scene) == before
        filler.unlink()
        began = time.monotonic()
        until(lambda: len(acknowledged(scene)) > len(before), "readings are acknowledged again")
        until(lambda: not problems(scene), "the collector is ready again")
        recovery_s = time.monotonic() - began
        until(lambda: is_offered(scene), "the board is offered again")
        with Client(scene.collector.url) as fallow:
            fallow.reserve(Request(count=1, vendor=["nvidia"]), holder="tests")
        scene.settle()
        found = scene.verdicts()
    record(row_of("disk of the collector full", 1, found, recovery_s))
    [verdict] = found
    assert not verdict.lost
    assert not verdict.doubled
    assert not verdict.invented


def test_disks_that_turn_read_only_stop_neither_program_and_lose_nothing_that_was_owed(
    tmp_path: Path, nvml_library: Path
) -> None:
    spool = Disk(tmp_path / "spool.ext4", tmp_path / "n0" / "agent", mib=32)
    state = Disk(tmp_path / "state.ext4", tmp_path / "collector", mib=64)
    with spool, state, Scene(tmp_path, nvml_library, *STORE) as scene:
        until(lambda: acknowledged(scene), "an acknowledgement")
        spool.break_down()
        state.break_down()
        until(lambda: IN_MEMORY in scene.node.agent.tail(), "the agent says that its disk is read-only")
        until(lambda: "store" in problems(scene), "the collector says that its store cannot commit")
        before = acknowledged(scene)
        goes_on_live(scene)
        assert acknowledged(scene) == before
        scene.collector.kill()
        scene.node.agent.kill()
        spool.repair()
        state.repair()
        scene.node.note_owed()
        scene.collector.start()
        assert not list(state.at.rglob("*damaged*"))
        scene.node.start()
        scene.settle()
        assert not list(spool.at.glob("*damaged*"))
        found = scene.verdicts()
    record(row_of("disks turn read-only", 2, found))
    [verdict] = found
    assert not verdict.lost
    assert not verdict.doubled
    assert not verdict.invented
