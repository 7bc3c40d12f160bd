"""What must hold under any order of Hellos, reports and clocks, against a second book of what was heard: no device is
idle without a whole window of its own node's readings, of one run of the agent, none missing, that all say so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fallow_collector.fleet.arrival import Arrival, decode
from fallow_collector.fleet.fleet import WITNESS_INTERVALS, Fleet
from fallow_collector.fleet.layouts import bind
from fallow_collector.idle import phase
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import WITNESSES
from fallow_collector.view import View
from fallow_proto.codec import layout_of
from fallow_proto.states import Phase
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.watching import BUSY, HOLDING, IDLE, NAN, device

QUICK = IdleSettings(confirm_s=4.0, confirm_readings=4, evidence_s=20.0, unmanaged_s=3.0)
MEMORY = {"memory_usage_bytes", "memory_limit_bytes"}
MEMORY_S = 2.0  # between readings of memory where it is read apart
IS_IDLE = phase.PHASES.index(Phase.IDLE)
LEASED, FREE = 2, 0

KINDS = {
    "idle": IDLE, "busy": BUSY, "holding": HOLDING, "blind": {**IDLE, "utilization_ratio": NAN},
    "sick": {**IDLE, "recovery_action": 1.0},
}
KIND = st.sampled_from(["idle"] * 12 + ["busy", "holding", "blind", "sick"])
DEVICES = {"n0": ("a", "p", "b"), "n1": ("b", "c")}  # b is named by both; p is a partition of a
CONDITIONS = st.sampled_from([()] * 6 + [("compute_prohibited",), ("unread",)])


@dataclass
class Told:
    """One report of a node on its way: which devices it has, as what, and whether their memory is in it."""

    made: float
    arrival: Arrival
    kinds: Mapping[str, str]
    memory: bool


@dataclass
class Agent:
    name: str
    epoch: int = 0
    skew: float = 1e9
    seq: int = 0
    heard_seq: int = 0
    named: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    model: str = "A100"
    apart: bool = False  # memory is read in a group of its own
    wire: list[Told] = field(default_factory=list)


@dataclass
class Book:
    """Of one device: when the readings of its unbroken run were made, its newest one, and its memory's."""

    run: list[float] = field(default_factory=list)
    last: float = -1e9
    still: bool = False
    memory_at: float = -1e9
    owner: str = ""

    def begin(self) -> None:
        self.run, self.last, self.still, self.memory_at = [], -1e9, False, -1e9


class Heard(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.engine = Engine(QUICK)
        self.fleet = Fleet(self.engine, WITNESSES)
        self.now = 1000.0
        self.view = View(self.fleet, self.engine, lambda: self.now, lambda: self.now)
        self.books = {uuid: Book() for uuids in DEVICES.values() for uuid in uuids}
        self.agents = [Agent(name) for name in DEVICES]
        for agent in self.agents:
            self._restart(agent, DEVICES[agent.name], 1e9)

    # --- what happens ---

    @rule(which=st.integers(0, 1), kinds=st.lists(KIND, min_size=3, max_size=3), missing=st.sampled_from([""] * 9 + [
        "a", "b"]), memory=st.booleans())
    def read(self, which: int, kinds: list[str], missing: str, memory: bool) -> None:
        """A report is made; it is not heard yet."""
        agent = self.agents[which]
        self.now += 0.5
        self._make(agent, dict(zip(DEVICES[agent.name], kinds, strict=False)), missing, memory)

    @rule(which=st.integers(0, 1), times=st.integers(4, 12))
    def rest(self, which: int, times: int) -> None:
        agent = self.agents[which]
        for _ in range(times):
            self.now += 0.9
            self._make(agent, dict.fromkeys(DEVICES[agent.name], "idle"), "", memory=True)
            self.hear(which, len(agent.wire))

    @rule(which=st.integers(0, 1), many=st.integers(1, 9))
    def hear(self, which: int, many: int) -> None:
        agent = self.agents[which]
        heard, agent.wire = agent.wire[:many], agent.wire[many:]
        self.fleet.apply([
            Arrival(
                told.arrival.node, told.arrival.epoch, told.arrival.seq, told.arrival.previous, told.arrival.time_ms,
                self.now, told.arrival.values,
            ) for told in heard
        ])
        for told in heard:
            self._note(agent, told)

    @precondition(lambda self: any(agent.wire for agent in self.agents))
    @rule(which=st.integers(0, 1), at=st.integers(0, 9), twice=st.booleans())
    def lose_or_repeat(self, which: int, at: int, twice: bool) -> None:
        wire = self.agents[which].wire
        if at < len(wire):
            if twice:
                wire.insert(at, wire[at])
            else:
                del wire[at]

    @rule(seconds=st.sampled_from([0.5, 3.0, 6.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(which=st.integers(0, 1), step=st.sampled_from([0.0, 0.0, -2.0, -8.0, 5.0, -3600.0, 3600.0]),
          named=st.sets(st.integers(0, 2)), missing=st.sampled_from(["", "a", "b"]))
    def restart(self, which: int, step: float, named: set[int], missing: str) -> None:
        """Another run of the agent, soon after; the wall clock may have been set meanwhile."""
        agent = self.agents[which]
        mine = DEVICES[agent.name]
        self._restart(agent, tuple(mine[i] for i in sorted(named) if i < len(mine)) or mine, agent.skew + step, missing)

    @rule(which=st.integers(0, 1), named=st.sets(st.integers(0, 2)), conditions=CONDITIONS,
          model=st.sampled_from(["A100"] * 4 + ["", "H100"]), apart=st.booleans())
    def hello(self, which: int, named: set[int], conditions: tuple[str, ...], model: str, apart: bool) -> None:
        """The same run tells of other devices, or of the same in another way."""
        agent = self.agents[which]
        mine = DEVICES[agent.name]
        agent.conditions, agent.model, agent.apart = conditions, model, apart
        self._hello(agent, tuple(mine[i] for i in sorted(named) if i < len(mine)))

    @rule(uuid=st.sampled_from(["a", "p", "b", "c"]), allocation=st.sampled_from([FREE, FREE, LEASED]))
    def lease(self, uuid: str, allocation: int) -> None:
        row = self.fleet.find(uuid)
        if row is not None:
            self.fleet.allocation[row] = allocation
            self.engine.restart(np.array([row]))
            self.books[uuid].run = []

    # --- the second book ---

    def _restart(self, agent: Agent, named: tuple[str, ...], skew: float, missing: str = "") -> None:
        agent.epoch, agent.seq, agent.heard_seq, agent.skew = agent.epoch + 1, 0, 0, skew
        agent.wire = []
        self._hello(agent, named)
        for uuid in self._own(agent):
            self.books[uuid].begin()
        self.now += 0.5
        self._make(agent, dict.fromkeys(DEVICES[agent.name], "idle"), missing, memory=True)
        self.hear(self.agents.index(agent), 1)

    def _hello(self, agent: Agent, named: tuple[str, ...]) -> None:
        self.fleet.hello(pb.Hello(
            wire=1, node=agent.name, site="s", epoch=f"{agent.name}{agent.epoch}", interval_s=1.0, devices=[
                device(uuid, model=agent.model, parent="a" if uuid == "p" else "", conditions=agent.conditions)
                for uuid in named
            ],
        ), self.now, self.now)
        before, agent.named = agent.named, named
        for uuid in before:
            if uuid not in named and self.books[uuid].owner == agent.name:
                self.books[uuid].begin()
        self._follow()

    def _follow(self) -> None:
        """A device that is another one's now, or another thing, begins anew."""
        for uuid, book in self.books.items():
            row = self.fleet.find(uuid)
            if row is None:
                continue
            owner = self.fleet.nodes[self.fleet.owner[row]].name
            if owner != book.owner:
                book.begin()
            book.owner = owner

    def _own(self, agent: Agent) -> Iterable[str]:
        return [uuid for uuid in agent.named if self.books[uuid].owner == agent.name]

    def _make(self, agent: Agent, kinds: dict[str, str], missing: str, memory: bool) -> None:
        uuids = [uuid for uuid in DEVICES[agent.name] if uuid != missing]
        apart = agent.apart
        fast = sorted({*IDLE, "recovery_action"} - (MEMORY if apart else set()))
        blocks = [pb.Block(reader="r", group="fast", interval_s=1.0, devices=uuids, gauges=fast)]
        readings = [
            pb.Readings(block=0, gauges=[self._value(uuid, kinds[uuid], name) for uuid in uuids for name in fast]),
        ]
        if apart:
            slow = sorted(MEMORY)
            blocks.append(pb.Block(reader="r", group="medium", interval_s=MEMORY_S, devices=uuids, gauges=slow))
            if memory:
                readings.append(pb.Readings(
                    block=1, gauges=[self._value(uuid, kinds[uuid], name) for uuid in uuids for name in slow],
                ))
        binding = bind(self.fleet, self.fleet.node_number(agent.name), layout_of(blocks))
        previous, agent.seq = agent.seq, agent.seq + 1
        arrival = decode(binding, f"{agent.name}{agent.epoch}", pb.Report(
            seq=agent.seq, previous=previous, time_ms=round((agent.skew + self.now) * 1000), readings=readings,
        ), self.now)
        told = {uuid: kinds[uuid] for uuid in uuids}
        agent.wire.append(Told(self.now, arrival, told, memory=memory or not apart))

    def _value(self, uuid: str, kind: str, name: str) -> float:
        return NAN if uuid == "p" and name == "utilization_ratio" else KINDS[kind].get(name, 0.0)

    def _note(self, agent: Agent, told: Told) -> None:
        """As the collector should have taken it."""
        if told.arrival.seq <= agent.heard_seq:
            return
        follows = told.arrival.previous == agent.heard_seq and agent.heard_seq > 0
        agent.heard_seq = told.arrival.seq
        self._follow()
        mine = [uuid for uuid in self._own(agent) if uuid in told.kinds]
        for uuid in mine:
            book, kind = self.books[uuid], told.kinds[uuid]
            if told.memory:
                book.memory_at = told.made
            if uuid != "p":
                book.still = kind in ("idle", "sick", "holding")
            parent = self.books["a"]
            seen = kind == "idle" and told.made - book.memory_at <= WITNESS_INTERVALS * (MEMORY_S if agent.apart else 1)
            if uuid == "p":
                seen = kind in ("idle", "blind") and told.made - book.memory_at <= WITNESS_INTERVALS * MEMORY_S
                seen &= parent.still and "a" in self._own(agent)
                seen &= max(parent.last, told.made if "a" in mine else 0.0) >= told.made - WITNESS_INTERVALS
            if not follows or told.made - book.last > WITNESS_INTERVALS + 0.01 or agent.conditions:
                book.run = []
            book.run = [*book.run, told.made] if seen and not agent.conditions else []
        for uuid in mine:
            self.books[uuid].last = told.made

    # --- what must hold ---

    @invariant()
    def nothing_is_idle_that_the_second_book_does_not_know_to_be(self) -> None:
        self._follow()
        snapshot = self.view.refresh()
        for row in np.flatnonzero(snapshot.assessment.phase == IS_IDLE).tolist():
            uuid = self.fleet.identities[row].uuid
            book = self.books[uuid]
            agent = next(agent for agent in self.agents if agent.name == book.owner)
            assert uuid in agent.named
            assert not agent.conditions
            assert len(book.run) >= QUICK.confirm_readings, (uuid, book)
            assert book.run[-1] - book.run[0] >= QUICK.confirm_s - 0.01, (uuid, book)
            assert self.now - book.run[-1] <= QUICK.stale_s + 1, (uuid, book)
            assert self.fleet.allocation[row] == FREE


Heard.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_nothing_is_idle_without_a_whole_window_that_says_so = Heard.TestCase


def test_a_fleet_at_rest_is_idle_here() -> None:
    """Else the property above would hold of nothing."""
    heard = Heard()
    heard.begin()
    heard.rest(0, 8)
    phases = heard.view.refresh().assessment.phase
    assert [heard.fleet.identities[row].uuid for row in np.flatnonzero(phases == IS_IDLE)] == ["a", "p", "b"]
