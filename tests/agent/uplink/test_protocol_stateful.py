"""In any order of samples, cuts, restarts, refusals and losses: nothing that a store lacks is forgotten, nothing that
it has is sent for ever, and evidence goes on without a gap.
"""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fallow_agent.uplink import words as w
from fallow_agent.uplink.protocol import State
from fallow_proto.codec import encode_ranges
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.uplink.node import Node

Key = tuple[str, int]


class AgentAndCollector(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fallow-test-"))
        self.runs = 0
        self.made: set[Key] = set()
        self.newest_event: dict[tuple[str, str], int] = {}
        self.collector_judged: Key = ("", 0)
        self.stored: dict[str, RangeSet] = {}
        self.refused: set[Key] = set()
        self.pending: set[Key] = set()  # received, not yet stored
        self.hang_up()
        self._start_agent()

    def _start_agent(self) -> None:
        self.runs += 1
        self.node = Node(f"run{self.runs}", self.folder / "spool")

    def teardown(self) -> None:
        if not hasattr(self, "node"):
            return
        self._bring_everything_home()
        self.node.spool.close()
        shutil.rmtree(self.folder)

    @property
    def connected(self) -> bool:
        return self.node.uplink.state is not State.WAITING

    def hang_up(self) -> None:
        self.known_layouts: set[bytes] = set()
        self.known_epochs: set[str] = set()
        self.expected: list[Key] | None = None  # of the judged lane, from Welcome on

    # The node

    @rule(devices=st.integers(1, 2), padding=st.sampled_from([0, 0, 40_000]))
    def sample(self, devices: int, padding: int) -> None:
        item = self.node.sample(devices=devices, padding=padding)
        self.made.add((item.epoch, item.seq))
        if self.expected is not None:
            self.expected.append((item.epoch, item.seq))

    @rule(name=st.sampled_from("xy"))
    def happen(self, name: str) -> None:
        item = self.node.happen(name)
        self.newest_event[item.epoch, name] = item.seq

    @rule(seconds=st.sampled_from([0.1, 1.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.node.now += seconds

    @rule()
    def read_spool(self) -> None:
        self.node.read_spool()

    @rule()
    def step_clock(self) -> None:
        self.runs += 1
        self.node.begin_epoch(f"run{self.runs}")

    @rule()
    def kill_agent(self) -> None:
        self.node.spool.close()
        self.hang_up()
        self._start_agent()

    # The wire

    @precondition(lambda self: not self.connected)
    @rule()
    def connect(self) -> None:
        self.node.tell(w.Dialled())
        ring = [(item.epoch, item.seq) for item in self.node.uplink._ring.since(0)]
        for message in self.node.take():
            self._receive(message)
        epoch, seq = self.collector_judged
        after = [key for key in ring if not (key[0] == epoch and key[1] <= seq)]
        if any(key[0] == epoch for key in ring):
            after = [key for key in after if key[0] == epoch or ring.index(key) > _last(ring, epoch)]
        self.expected = after
        stored = {epoch: list(ranges) for epoch, ranges in self.stored.items() if epoch in self.known_epochs}
        self.node.welcome(self.collector_judged, **stored)

    @rule()
    def deliver(self) -> None:
        for message in self.node.take():
            self._receive(message)

    @precondition(lambda self: self.connected)
    @rule()
    def cut(self) -> None:
        self.node.wire.clear()
        self.node.tell(w.Lost("cut"))
        self.hang_up()

    # The collector

    def _receive(self, message: pb.FromAgent) -> None:
        match message.WhichOneof("kind"):
            case "hello":
                self.known_epochs |= {message.hello.epoch, *(each.epoch for each in message.hello.spooled)}
            case "layout":
                self.known_layouts.add(message.layout.hash)
            case "events":
                assert message.events.epoch in self.known_epochs
                self._take((message.events.epoch, each.seq) for each in message.events.events)
            case "reports":
                batch = message.reports
                assert batch.epoch in self.known_epochs
                assert batch.layout in self.known_layouts
                keys = [(batch.epoch, report.seq) for report in batch.reports]
                self._take(keys)
                if batch.lane == pb.LANE_JUDGED:
                    assert self.expected is not None
                    assert self.expected[: len(keys)] == keys, "evidence in order and without a gap"
                    del self.expected[: len(keys)]
                    self.collector_judged = keys[-1]

    def _take(self, keys: Iterable[Key]) -> None:
        for epoch, seq in keys:
            if seq not in self.stored.get(epoch, ()):
                self.pending.add((epoch, seq))

    def _tell(self, message: pb.ToAgent) -> None:
        if self.node.uplink.state is State.STREAMING:
            self.node.tell(w.Received(message))

    @rule(share=st.sampled_from([1, 2, 3]))
    def commit(self, share: int) -> None:
        done = sorted(self.pending)[::share]
        self.pending -= set(done)
        for epoch, seq in done:
            self.stored.setdefault(epoch, RangeSet()).add(seq, seq)
        self._tell(pb.ToAgent(ack=pb.Ack(stored=encode_ranges(_ranges(done)))))

    @precondition(lambda self: self.pending)
    @rule()
    def lose_what_was_not_settled(self) -> None:
        lost, self.pending = self.pending, set()
        self._tell(pb.ToAgent(resend=pb.Resend(lost=encode_ranges(_ranges(lost)))))

    @precondition(lambda self: self.pending and self.connected)
    @rule()
    def refuse_one(self) -> None:
        poison = max(self.pending)
        self.pending.discard(poison)
        self.refused.add(poison)
        self._tell(pb.ToAgent(refuse=pb.Refuse(refused=encode_ranges(_ranges([poison])), reason="poison")))

    @rule()
    def kill_collector(self) -> None:
        self.pending = set()
        self.collector_judged = ("", 0)
        if self.connected:
            self.cut()

    # What must hold

    def _wanted(self) -> set[Key]:
        events = {(epoch, seq) for (epoch, _), seq in self.newest_event.items()}
        return {
            key for key in self.made | events if key[1] not in self.stored.get(key[0], ()) and key not in self.refused
        }

    @invariant()
    def the_spool_has_what_the_store_lacks(self) -> None:
        held = self.node.spool.held()
        for epoch, seq in self._wanted():
            assert seq in held.get(epoch, ()), f"{epoch} {seq} is nowhere"

    @invariant()
    def no_more_than_one_burst_is_on_the_wire(self) -> None:
        assert len(self.node.wire) <= 6

    def _bring_everything_home(self) -> None:
        if not self.connected:
            self.connect()
        elif self.node.uplink.state is State.GREETING:
            self.deliver()
        if self.pending:
            self.lose_what_was_not_settled()
        for _ in range(200):
            for message in self.node.settle(2.0):
                self._receive(message)
            if not self.pending and not self.node.reads:
                break
            self.commit(1)
        assert not self._wanted()
        assert self.expected == []
        for message in self.node.settle(10.0):
            raise AssertionError(f"sent though everything is stored: {message}")


def _ranges(keys: Iterable[Key]) -> dict[str, RangeSet]:
    ranges: dict[str, RangeSet] = {}
    for epoch, seq in keys:
        ranges.setdefault(epoch, RangeSet()).add(seq, seq)
    return ranges


def _last(ring: list[Key], epoch: str) -> int:
    return max(position for position, key in enumerate(ring) if key[0] == epoch)


TestAgentAndCollector = AgentAndCollector.TestCase
TestAgentAndCollector.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
