"""Readings that made others call a device idle, or busy, or healthy, when it was not: each with the system it fooled.

F15 and F16 have a second half on the node, in tests/agent/test_false_readings.py.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fallow_collector.answers.cordons import Cordons
from fallow_collector.answers.live import Live
from fallow_collector.api.answers import Where
from fallow_collector.fit.members import Directory
from fallow_collector.idle.reasons import REASONS
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.journal import Journal
from fallow_collector.ledgers.imports import Imports
from fallow_collector.state import EventRow, State
from fallow_collector.view import View
from fallow_proto import api
from fallow_proto.dispatch import LedgerImport, Owned
from fallow_proto.states import EventKind
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.memory_store import MemoryStore
from tests.collector.watching import BUSY, GIB, HOLDING, IDLE, NAN, Watched, device

FREE, LEASED, RELEASING = 0, 2, 3  # positions in phase.ALLOCATIONS


class Centre:
    """A watched node of so many devices, and the answers that dispatchers get about it."""

    def __init__(self, folder: Path, *devices: pb.Device) -> None:
        self.node = Watched(*(devices or (device("g0"), device("g1"))))
        self.state = State(folder)
        self.prepare: list[Callable[[float, float], None]] = []
        self.view = View(self.node.fleet, self.node.engine, self.monotonic, self.wall, self.prepare)
        self.journal = Journal("run", self.wall)
        self.cordons = Cordons(
            self.state, self.node.fleet, self.node.engine, self.journal, self.view.refresh, self.monotonic, self.wall
        )
        self.imports = Imports(self.node.fleet, IdleSettings().ledger_stale_s, self.node.engine.restart)
        self.prepare += [self.imports.bring_up_to_date, self.cordons.bring_up_to_date]
        self.live = Live(
            self.node.fleet, self.node.engine, self.view, self.state, MemoryStore(), list, list,
            Directory(self.node.fleet),
        )

    def monotonic(self) -> float:
        return self.node.now

    def wall(self) -> float:
        return self.node.WALL + self.node.now

    def phases(self) -> list[str]:
        self.view.refresh()
        return [str(one.phase) for one in self.live.devices(Where(), 100, None).items]

    def group(self) -> api.Group:
        self.view.refresh()
        (group,) = self.live.capacity(Where()).groups
        assert group.declared + group.undeclared == group.seen + group.absent
        assert group.seen == (
            group.idle + group.idle_low_confidence + group.verifying + group.reserved + group.leased + group.releasing
            + group.unmanaged + group.unavailable
        )
        return group


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    made = Centre(tmp_path)
    yield made
    made.state.close()


def never_idle(watched: Watched, seconds: int, reading: dict[str, float]) -> set[str]:
    """The phases that the first device goes through meanwhile."""
    found = set()
    for _ in range(seconds):
        watched.stays(1, reading)
        found.add(watched.phase())
    assert "idle" not in found
    return found


@pytest.mark.parametrize("busy", [
    {**BUSY, "utilization_ratio": 0.0},
    {**BUSY, "utilization_ratio": 0.0, "processes": 0.0},
    {**IDLE, "power_watts": 390.0},
])
def test_f01_utilization_that_is_silently_zero_while_the_device_works_is_not_believed(busy: dict[str, float]) -> None:
    """dcgm-exporter#662: zero for all GPUs for weeks."""
    watched = Watched()
    watched.stays(62, IDLE)
    assert watched.phase() == "idle"
    watched.stays(20, busy)
    never_idle(watched, 300, busy)
    watched.stays(1, BUSY)  # a probe, and it reads right again
    assert "active" in watched.reasons()


def test_f01_a_device_that_reads_zero_from_the_first_moment_on_is_not_idle_either() -> None:
    assert never_idle(Watched(), 300, {**IDLE, "power_watts": 390.0}) <= {"unknown", "verifying"}


def test_f02_old_values_served_again_are_frozen() -> None:
    """dcgm-exporter#164, gpu-monitoring-tools#188: the exporter hangs, and its health endpoint is green."""
    watched = Watched()
    for second in range(62):
        watched.stays(1, {**IDLE, "energy_joules_total": 60.0 * second})
    assert watched.phase() == "idle"
    watched.stays(15, {**IDLE, "energy_joules_total": 60.0 * 61})
    assert (watched.phase(), watched.reasons()) == ("unknown", ["frozen"])


def test_f02_an_old_reading_that_comes_late_is_as_old_as_it_is() -> None:
    watched = Watched()
    watched.stays(62, IDLE)
    made_at = watched.now
    watched.misses(20)
    watched.fleet.apply([watched.report(IDLE, time=made_at + 0.1)])
    assert (watched.phase(), watched.reasons()) == ("unknown", ["stale"])


def test_f03_a_device_that_fell_off_the_bus_is_absent_and_the_answer_says_that_it_is_incomplete(
    centre: Centre,
) -> None:
    """dcgm-exporter#348: the series just vanish."""
    centre.node.stays(62, IDLE, IDLE)
    centre.node.devices = (device("g0"),)
    centre.node.hello()
    centre.node.stays(1, IDLE)
    assert centre.phases() == ["idle", "absent"]
    group = centre.group()
    assert (group.seen, group.absent, group.idle) == (1, 1, 1)
    capacity = centre.live.capacity(Where())
    assert (capacity.complete, capacity.incomplete_by) == (False, {"absent": 1})


def test_f04_an_error_that_has_passed_does_not_stick(centre: Centre) -> None:
    """dcgm-exporter#500: the Xid gauge stays set after recovery. Here it is an event with a time, and no level."""
    centre.node.stays(1, IDLE, IDLE)
    centre.node.now += 1
    centre.node.says({}, IDLE, reasons=[pb.REASON_LOST, pb.REASON_OK])
    at = round(centre.wall() * 1000)
    centre.state.record([EventRow("n1", "e1", "1", 1, str(EventKind.DEVICE_VANISHED), "g0", 1, at, at, "off the bus")])
    assert centre.phases()[0] == "faulty"
    centre.node.stays(62, IDLE, IDLE)
    detail = centre.live.device("g0")
    assert (detail.device.phase, detail.device.health, detail.device.reasons) == ("idle", "ok", [])
    assert [(event.kind, event.last) for event in detail.events] == [("device_vanished", detail.events[0].first)]


@pytest.mark.parametrize("changed", [
    {"utilization_ratio": 0.9}, {"power_watts": 300.0}, {"memory_usage_bytes": 30 * GIB},
    {"utilization_ratio": 0.9, "power_watts": 300.0, "memory_usage_bytes": 30 * GIB},
])
def test_f05_an_empty_list_of_processes_alone_frees_nothing(changed: dict[str, float]) -> None:
    """ServerPilot 2.4.0: inside a container the list is empty although the device is busy."""
    watched = Watched()
    watched.stays(5, BUSY)
    never_idle(watched, 300, {**IDLE, "processes": 0.0, **changed})


def test_f05_an_empty_list_has_to_last_for_the_whole_window() -> None:
    watched = Watched()
    watched.stays(5, BUSY)
    assert never_idle(watched, 60, IDLE) == {"verifying"}


@pytest.mark.parametrize("work", [BUSY, HOLDING])
def test_f06_work_outside_the_scheduler_is_unmanaged_though_its_ledger_says_free(
    centre: Centre, work: dict[str, float]
) -> None:
    """gpustack#6044, HAMi#1069, k8s-device-plugin#237: memory that the scheduler does not know is handed out again."""
    for _ in range(20):
        centre.node.stays(1, work, IDLE)
        centre.imports.take(
            "slurm", LedgerImport(age_s=0.0, nodes=[Owned(node="n1")], jobs=[]), centre.node.now, centre.wall()
        )
    found = centre.live.device("g0").device
    assert (found.phase, found.allocation, found.ledger) == ("unmanaged", "free", "slurm")


def test_f07_a_pause_of_a_lease_however_long_is_not_its_end(centre: Centre) -> None:
    """65 % of idle periods of the Philly trace are mid-job; ray#46172 deleted a live actor without calls."""
    centre.node.stays(1, BUSY, IDLE)
    centre.node.fleet.allocation[0] = LEASED
    for _ in range(10):
        centre.node.stays(60, HOLDING, IDLE)
        assert centre.phases()[0] == "leased"
    centre.node.stays(600, IDLE, IDLE)
    assert centre.phases() == ["leased", "idle"]
    assert (centre.group().idle, centre.group().leased) == (1, 1)


def test_f08_what_happens_elsewhere_does_not_start_a_device_s_window_anew() -> None:
    """ray#60546: unrelated events reset the timer, and the node never scales down."""
    watched = Watched(device("g0"), device("g1"))
    watched.says(IDLE, BUSY)
    for second in range(60):
        assert watched.phase() == "verifying"
        if second == 20:
            watched.hello()  # the agent says its inventory again
        if second == 30:
            watched.fleet.gone("n1", watched.now)  # the collector's stream is cut and comes back
            watched.hello()
        if second == 40:
            watched.fleet.declare("x9", "n2", "s1", "nvidia", "H100", "")
        watched.stays(1, IDLE, BUSY if second % 2 else IDLE)
    assert watched.phase() == "idle"


@pytest.mark.parametrize("missing", ["memory_usage_bytes", "memory_limit_bytes", "processes", "utilization_ratio"])
def test_f09_what_could_not_be_read_is_not_taken_for_nothing_used(missing: str) -> None:
    """skypilot#10283: N/A was read as 0 used."""
    watched = Watched()
    assert never_idle(watched, 120, {**IDLE, missing: NAN}) == {"unknown"}
    assert "witness_missing" in watched.reasons()


def test_f09_a_scheduler_that_has_not_said_lately_what_it_allocated_has_nothing_free(centre: Centre) -> None:
    nothing = LedgerImport(age_s=0.0, nodes=[Owned(node="n1")], jobs=[])
    centre.imports.take("slurm", nothing, centre.node.now, centre.wall())
    centre.node.stays(120, IDLE, IDLE)
    assert centre.phases() == ["unknown", "unknown"]
    assert centre.group().unavailable_by == {"ledger_stale": 2}


def test_f10_a_leased_device_that_fails_is_counted_once_and_is_not_free(centre: Centre) -> None:
    """volcano#1782: a GPU fault after allocation miscounts what is idle."""
    centre.node.stays(62, BUSY, IDLE)
    centre.node.fleet.allocation[0] = LEASED
    centre.node.now += 1
    centre.node.says({}, IDLE, reasons=[pb.REASON_LOST, pb.REASON_OK])
    group = centre.group()
    assert (group.seen, group.leased, group.unavailable, group.idle) == (2, 1, 0, 1)
    assert centre.live.device("g0").device.health == "failed"
    centre.node.fleet.allocation[0] = FREE
    group = centre.group()
    assert (group.leased, group.unavailable, group.unavailable_by) == (0, 1, {"device_lost": 1})


def test_f10_a_partitioned_device_is_not_counted_beside_its_partitions(tmp_path: Path) -> None:
    parts = [device(f"m{n}", parent="g0", partition_profile="3g.40gb") for n in range(2)]
    centre = Centre(tmp_path, device("g0"), *parts)
    centre.node.stays(62, IDLE, IDLE, IDLE)
    centre.node.fleet.allocation[1] = LEASED
    (group,) = (group for group in centre.live.capacity(Where()).groups if group.seen)
    centre.state.close()
    assert (group.partition_profile, group.seen, group.idle, group.leased) == ("3g.40gb", 2, 1, 1)


def test_f11_a_device_that_is_being_released_is_not_idle_until_it_was_seen_clean(centre: Centre) -> None:
    """KAI-Scheduler#313: what is releasing was counted idle."""
    centre.node.fleet.allocation[0] = LEASED
    centre.node.stays(62, IDLE, IDLE)
    centre.node.fleet.allocation[0] = RELEASING
    centre.node.stays(600, IDLE, IDLE)
    group = centre.group()
    assert (group.releasing, group.idle) == (1, 1)


def test_f12_a_broken_node_that_fails_one_lease_after_the_other_is_quarantined(centre: Centre) -> None:
    """pytorch/ci-infra#1058: 554 pods in 1 h 46 m, each of which left the node idle-looking again."""
    centre.node.stays(62, IDLE, IDLE)
    for number in range(3):
        assert centre.phases() == ["idle", "idle"]
        asyncio.run(centre.cordons.failed_fast("n1", f"l{number}", centre.node.now))
        centre.node.stays(1, IDLE, IDLE)
    centre.node.stays(120, IDLE, IDLE)
    assert centre.phases() == ["cordoned", "cordoned"]
    assert [row.kind for row in centre.journal.waiting()] == ["quarantined"]


def test_f13_a_busy_device_is_neither_faulty_nor_a_reason_to_take_its_neighbours_out(centre: Centre) -> None:
    """ROCm/spur#836: a health check fails on "busy" and drains a good node. Nothing here is tried on a device."""
    centre.node.fleet.allocation[0] = LEASED
    centre.node.stays(120, BUSY, IDLE)
    assert centre.phases() == ["leased", "idle"]
    busy, idle = (centre.live.device(uuid).device for uuid in ("g0", "g1"))
    assert (busy.health, busy.service, idle.health, idle.service) == ("ok", "in_service", "ok", "in_service")


def test_f14_a_device_that_is_kept_artificially_busy_is_not_effective(centre: Centre) -> None:
    """KeepGPU and its like: busy by utilization, with memory held, while no compute unit works."""
    kept = {**IDLE, "utilization_ratio": 0.8, "memory_usage_bytes": 64 * GIB, "processes": 1.0,
            "compute_active_ratio": 0.0, "power_watts": 62.0}
    working = {**BUSY, "compute_active_ratio": 0.6}
    centre.node.stays(62, kept, working)
    group = centre.group()
    assert (group.unmanaged, group.ineffective.busy_without_work, group.ineffective.of) == (2, 1, 2)
    centre.node.stays(1, {**kept, "compute_active_ratio": NAN}, working)  # not known: nothing is said against it
    assert centre.group().ineffective.busy_without_work == 0


def test_f15_one_silent_node_does_not_make_others_flap() -> None:
    """ServerPilot 2.3.0: one budget for all, and the whole fleet flaps."""
    silent = Watched(device("g0"), node="n1")
    speaking = Watched(device("g1"), node="n2", fleet=silent.fleet, engine=silent.engine)
    for _ in range(62):
        silent.stays(1, IDLE)
        speaking.stays(1, IDLE)
    found = []
    for _ in range(40):
        speaking.stays(1, IDLE)
        silent.now = speaking.now
        assert speaking.phase(1) == "idle"
        found.append(silent.reasons(0))
    assert found == [[]] * 5 + [["stale"]] * 25 + [["lost"]] * 10


def test_f16_a_reader_that_hangs_makes_its_devices_unknown_and_not_idle(centre: Centre) -> None:
    """Olares#3803: monitoring hangs, or keeps the device awake, and what it last said goes on being shown."""
    centre.node.stays(62, IDLE, IDLE)
    for _ in range(120):
        centre.node.now += 1
        centre.node.says({}, IDLE, reasons=[pb.REASON_STUCK, pb.REASON_OK])
        assert centre.phases() == ["unknown", "idle"]
    found = centre.live.device("g0").device
    assert ("reader_stuck" in found.reasons, found.power_watts) == (True, None)


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_f17_clocks_of_nodes_that_differ_change_no_age(skew: float) -> None:
    """HAMi protocol.md: two nodes, two clocks."""
    right = Watched(device("g0"), node="n1")
    wrong = Watched(device("g1"), node="n2", fleet=right.fleet, engine=right.engine)
    wrong.skew += skew
    for _ in range(62):
        right.stays(1, IDLE)
        wrong.stays(1, IDLE)
    assert (right.phase(0), right.phase(1)) == ("idle", "idle")
    assert right.fleet.age_s(right.now).tolist() == pytest.approx([0.0, 0.0], abs=0.01)
    right.now += 6
    assert [right.reasons(row) for row in (0, 1)] == [["stale"], ["stale"]]


def test_f18_memory_that_a_crash_left_behind_is_held_until_the_device_is_reset() -> None:
    """lightseekorg/tokenspeed#297: 251 GiB held and no process to end."""
    leaked = {**IDLE, "memory_usage_bytes": 70 * GIB}
    watched = Watched()
    watched.stays(62, IDLE)
    watched.stays(5, BUSY)
    never_idle(watched, 600, leaked)
    assert (watched.phase(), watched.reasons()) == ("unmanaged", ["memory_held"])
    (told,) = (reason.next for reason in REASONS if reason.name == "memory_held")
    assert "when no process is there to free it, reset the device" in told
    watched.stays(62, IDLE)
    assert watched.phase() == "idle"


def test_f18_a_leak_at_first_sight_is_not_taken_for_what_is_normal() -> None:
    assert never_idle(Watched(), 300, {**IDLE, "memory_usage_bytes": 70 * GIB}) == {"unknown"}
