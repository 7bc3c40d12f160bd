"""What must hold under any order of events: losing or delaying data never makes a device idle, the accounts add up,
replay gives the same answer, and the agents' wall clocks do not matter.
"""

from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fallow_collector.answers import capacity, totals
from fallow_collector.fit.members import Directory
from fallow_collector.fleet.arrival import Arrival
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.view import Snapshot, View
from fallow_proto import api
from fallow_proto.catalogue import PRECISIONS
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.watching import BUSY, GIB, HOLDING, HOST, IDLE, NAN, Watched, device

QUICK = IdleSettings(
    confirm_s=6.0, confirm_readings=4, conflict_s=3.0, unmanaged_s=3.0, frozen_s=3.0, evidence_s=20.0,
    reclaim_idle_s=5.0, reclaim_grace_s=2.0,
)

KINDS = {
    "idle": IDLE,
    "busy": BUSY,
    "holding": HOLDING,
    "leak": {**IDLE, "memory_usage_bytes": 9 * GIB},
    "grey": {**IDLE, "power_watts": 120.0},
    "hot": {**IDLE, "power_watts": 300.0},
    "blind": {**IDLE, "utilization_ratio": NAN},
    "nothing": {},
    "absurd": {**IDLE, "memory_usage_bytes": -1.0},
}


class Step(NamedTuple):
    kind: str
    reason: int
    pause_s: float  # before the reading
    lost: bool  # made, and never received
    delay_s: float  # between the reading and its receipt


# Long quiet stretches, so that idleness is reached at all, broken by anything.
STEP = st.builds(
    Step,
    kind=st.sampled_from(["idle"] * 12 + list(KINDS)),
    reason=st.sampled_from([0] * 20 + [2, 4, 5]),
    pause_s=st.sampled_from([1.0] * 12 + [0.2, 2.0, 4.0, 30.0]),
    lost=st.sampled_from([False] * 4 + [True]),
    delay_s=st.sampled_from([0.0] * 6 + [0.5, 3.0, 12.0]),
)
STEPS = st.lists(STEP, min_size=8, max_size=60)


class Made(NamedTuple):
    at: float
    lost: bool
    delay_s: float
    arrival: Arrival


def reports(steps: list[Step], skew: float = 0.0) -> tuple[Watched, list[Made]]:
    """A device with a known base, and the readings that its agent makes; none is applied yet."""
    watched = Watched(device("g0"), settings=QUICK)
    watched.skew += skew
    watched.engine.accept(0, 60.0, 0.6 * GIB)
    watched.engine.state["ever_read"][0] = 0b111_1111  # as if all had been read before
    made = []
    for step in steps:
        watched.now = round(watched.now + step.pause_s, 3)
        reading = {**KINDS[step.kind], "energy_joules_total": 60 * watched.now, "compute_active_ratio": 0.0,
                   "recovery_action": 0.0}
        arrival = watched.report(reading if step.kind != "nothing" else {}, reasons=[step.reason])
        made.append(Made(watched.now, step.lost, step.delay_s, arrival))
    return watched, made


def idle_times(watched: Watched, received: list[tuple[float, Arrival]], times: list[float]) -> dict[float, float]:
    """The moments of `times` at which the device is called idle when so much has been received, each with the moment
    at which the newest reading was made that says so."""
    waiting = sorted(received, key=lambda pair: pair[0])
    found = {}
    for now in times:
        while waiting and waiting[0][0] <= now:
            at, arrival = waiting.pop(0)
            watched.fleet.apply([Arrival(
                arrival.node, arrival.epoch, arrival.seq, arrival.previous, arrival.time_ms, at, arrival.values
            )])
        watched.now = now
        if watched.phase() == "idle":
            found[now] = round(float(watched.fleet.last_ms[0]) / 1000 - watched.skew, 3)
    return found


def moments(made: list[Made]) -> list[float]:
    return sorted({round(t + d, 3) for t, *_ in made for d in (0.0, 0.9, 4.0, 12.0)})


def test_a_device_left_alone_becomes_idle_here() -> None:
    """Else the properties below would hold of nothing."""
    watched, made = reports([Step("idle", 0, 1.0, False, 0.0)] * 12)
    assert len(idle_times(watched, [(m.at, m.arrival) for m in made], [m.at for m in made])) == 6


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_losing_and_delaying_readings_never_makes_a_device_idle(steps: list[Step]) -> None:
    watched, made = reports(steps)
    all_in_time = idle_times(watched, [(m.at, m.arrival) for m in made], moments(made))
    watched, made = reports(steps)
    in_order = 0.0
    received = []
    for m in made:
        in_order = max(in_order, m.at + m.delay_s)  # one stream keeps its order
        if not m.lost:
            received.append((in_order, m.arrival))
    worse = idle_times(watched, received, moments(made))
    # What has not come in cannot be known; but whatever is said rests on a reading that is young, and was idle itself.
    for now, read_at in worse.items():
        assert now - read_at <= QUICK.stale_s + 0.01
        assert read_at in all_in_time


@settings(deadline=None, max_examples=60)
@given(STEPS, st.sampled_from([-3600.0, 3600.0, 86_400.0]))
def test_the_agents_wall_clock_and_a_replay_change_nothing(steps: list[Step], skew: float) -> None:
    found = []
    for s in (0.0, 0.0, skew):
        watched, made = reports(steps, s)
        found.append(idle_times(watched, [(m.at, m.arrival) for m in made], moments(made)))
    assert found[0] == found[1] == found[2]


@settings(deadline=None, max_examples=100)
@given(STEPS)
def test_a_device_is_idle_only_after_a_whole_window_of_quiet_and_clean_readings(steps: list[Step]) -> None:
    watched, made = reports(steps)
    for m, step in zip(made, steps, strict=True):
        idle_times(watched, [(m.at, m.arrival)], [m.at])
        if watched.phase() != "idle":
            continue
        window = [
            (n, other) for n, other in zip(made, steps, strict=True) if m.at - QUICK.confirm_s <= n.at <= m.at
        ]
        assert all(other.kind in ("idle", "grey", "hot") and other.reason == 0 for _, other in window), step
        assert len(window) >= QUICK.confirm_readings


class Accounts(RuleBasedStateMachine):
    """Several nodes; whatever happens to them, every device is counted once."""

    @initialize()
    def begin(self) -> None:
        self.first = Watched(
            device("a0"), device("a1", parent="a0", partition_profile="1g"), device("h0", device_class="general"),
            settings=QUICK, node="a",
        )
        self.nodes = [self.first]
        self.view = View(self.first.fleet, self.first.engine, lambda: self.first.now, lambda: self.first.now)

    def _pass(self, seconds: float) -> None:
        for node in self.nodes:
            node.now += seconds

    @rule(kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=3, max_size=3), times=st.integers(1, 9),
          which=st.integers(0, 5))
    def read(self, kinds: list[str], times: int, which: int) -> None:
        node = self.nodes[which % len(self.nodes)]
        readings = [HOST if d.device_class == "general" else {**KINDS[k], "processes_cpu_seconds_total": 5.0}
                    for d, k in zip(node.devices, kinds, strict=False)]
        for _ in range(times):
            self._pass(1.0)
            node.says(*readings)

    @rule(seconds=st.sampled_from([1.0, 6.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self._pass(seconds)

    @rule()
    def join(self) -> None:
        if len(self.nodes) < 6:
            name = f"n{len(self.nodes)}"
            self.nodes.append(Watched(
                device(f"{name}g0"), device(f"{name}g1", vendor="huawei", model="910B"), node=name,
                fleet=self.first.fleet, engine=self.first.engine, now=self.first.now,
            ))

    @rule(which=st.integers(0, 5), keep=st.integers(0, 3))
    def change_inventory(self, which: int, keep: int) -> None:
        node = self.nodes[which % len(self.nodes)]
        node.devices = node.devices[:keep] if keep < len(node.devices) else node.devices
        node.hello()

    @rule(which=st.integers(0, 5))
    def restart(self, which: int) -> None:
        self.nodes[which % len(self.nodes)].restart_agent()

    @rule(uuid=st.sampled_from(["a0", "a1", "n1g0", "never"]), device_class=st.sampled_from(["", "super"]))
    def declare(self, uuid: str, device_class: str) -> None:
        self.first.fleet.declare(uuid, "a", "s1", "nvidia", "x", device_class)

    @rule(row=st.integers(0, 9), allocation=st.integers(0, 3), imported=st.sampled_from([0, 0, 2, 4]),
          service=st.integers(0, 3))
    def commit(self, row: int, allocation: int, imported: int, service: int) -> None:
        fleet = self.first.fleet
        if row < fleet.count:
            fleet.allocation[row], fleet.imported[row], fleet.service[row] = allocation, imported, service
            fleet.allocated_at[row] = self.first.now

    @rule(times=st.integers(6, 12), which=st.integers(0, 5))
    def rest(self, times: int, which: int) -> None:
        node = self.nodes[which % len(self.nodes)]
        self.read(["idle"] * len(node.devices), times, which)

    @rule(uuid=st.sampled_from(["a0", "n1g0", "never"]))
    def retire(self, uuid: str) -> None:
        row = self.first.fleet.find(uuid)
        if row is not None and not self.first.fleet.present[row]:
            self.first.fleet.retire(row)

    @invariant()
    def the_accounts_add_up(self) -> None:
        fleet = self.first.fleet
        snapshot = self.view.refresh()
        answer = capacity.capacity(
            fleet, self.first.engine, snapshot, "e", np.ones(fleet.count, dtype=np.bool_),
            Directory(fleet).members(), PRECISIONS,
        )
        for g in answer.groups:
            assert g.declared + g.undeclared == g.seen + g.absent
            assert g.seen == (
                g.idle + g.idle_low_confidence + g.verifying + g.reserved + g.leased + g.releasing + g.unmanaged
                + g.unavailable
            )
            assert sum(g.unavailable_by.values()) == g.unavailable
            assert all(int(size) * number <= g.idle for size, number in g.slots.items())
            assert all(
                share == (1 - int(size) * g.slots[size] / g.idle if g.idle else 0.0)
                for size, share in g.fragmentation.items()
            )
            blocks = (g.largest_block.node, g.largest_block.link, g.largest_block.rack)
            assert all(block is None or bool(g.idle) <= block <= g.idle for block in blocks)
            assert g.largest_block.node is not None
            assert g.idle_memory_unknown <= g.idle
            for peak in g.idle_flops.values():
                assert peak.unknown <= g.idle
                assert (peak.flops is None) == (0 < peak.unknown == g.idle)
            waste = g.ineffective
            assert (waste.idle, waste.leased_idle, waste.of) == (g.idle, g.reclaimable, g.seen - g.unavailable)
            assert waste.leased_idle <= g.leased
            assert waste.resident <= g.unmanaged
            done_nothing = waste.idle + waste.leased_idle + waste.resident + waste.busy_without_work
            assert done_nothing <= waste.of
            assert waste.ratio == (done_nothing / waste.of if waste.of else None)
            assert min(g.declared, g.undeclared, g.seen, g.absent, g.idle) >= 0
        assert sum(g.seen + g.absent for g in answer.groups) == int(snapshot.counted.sum())
        assert answer.complete == (not answer.incomplete_by)
        self.totals_add_up_to_the_groups(answer, snapshot)

    def totals_add_up_to_the_groups(self, answer: api.Capacity, snapshot: Snapshot) -> None:
        fleet = self.first.fleet
        for by in (), ("site",), ("vendor", "domestic"), api.TOTAL_KEYS:
            summed = totals.totals(
                fleet, self.first.engine, snapshot, "e", np.ones(fleet.count, dtype=np.bool_), by, "fp16"
            )
            rows = summed.totals
            words = [tuple(getattr(r, "device_class" if n == "class" else n) for n in summed.by) for r in rows]
            assert len(set(words)) == len(words)
            for device_class in {row.device_class for row in rows} | {g.device_class for g in answer.groups}:
                of_class = [row for row in rows if row.device_class == device_class]
                groups = [g for g in answer.groups if g.device_class == device_class]
                assert sum(row.devices for row in of_class) == sum(g.seen for g in groups)
                assert sum(row.idle for row in of_class) == sum(g.idle for g in groups)
                assert sum(row.idle_flops.unknown for row in of_class) == sum(
                    g.idle_flops["fp16"].unknown for g in groups
                )
                assert sum(row.idle_flops.flops or 0.0 for row in of_class) == sum(
                    g.idle_flops["fp16"].flops or 0.0 for g in groups
                )
                assert all(row.idle <= row.devices and row.flops.unknown <= row.devices for row in of_class)


Accounts.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
test_the_accounts_add_up_whatever_happens = Accounts.TestCase


def test_unknown_reasons_of_a_newer_agent_are_failures() -> None:
    watched = Watched()
    watched.says(IDLE, reasons=[pb.REASON_FAILED])
    assert watched.reasons()[0] == "read_failed"
