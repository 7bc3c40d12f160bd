"""Agents with spools, streams that break at any moment, a store that fails, forgets and restarts: whatever the order,
nothing is acknowledged that is not stored, nothing is stored twice, and in the end everything is.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fallow_collector.ingest.received import Received
from fallow_collector.ingest.session import Terms, Unusable
from fallow_collector.ingest.streams import Stream, Streams
from fallow_collector.series import Source, Span
from fallow_proto.codec import decode_ranges
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.ingest.builders import WALL, hello, layout, report, reports

NODES = ("node-1", "node-2")
POISON = 7  # every report of a number that this divides is malformed

Mine = tuple[Source, int]


class Agent:
    """What an agent does, as far as durability goes: keep until acknowledged, set aside what is refused."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.epochs = 0
        self.spool: dict[str, RangeSet] = {}
        self.unsent: dict[str, RangeSet] = {}
        self.acked: set[Mine] = set()
        self.refused: set[Mine] = set()
        self.made: set[Mine] = set()
        self.stream: Stream[int] | None = None
        self.restart()

    @property
    def epoch(self) -> str:
        return f"epoch-{self.epochs}"

    def restart(self) -> None:
        self.epochs += 1
        self.next = 1
        self.stream = None
        self.spool.setdefault(self.epoch, RangeSet())

    def make(self) -> None:
        self.spool[self.epoch].add(self.next, self.next)
        self.unsent.setdefault(self.epoch, RangeSet()).add(self.next, self.next)
        self.made.add((Source(self.node, self.epoch), self.next))
        self.next += 1

    def hear(self, message: pb.ToAgent) -> None:
        kind = message.WhichOneof("kind")
        if kind == "welcome":
            self.unsent = {epoch: RangeSet(kept) for epoch, kept in self.spool.items()}
            self._drop(message.welcome.stored, self.acked)
        elif kind == "ack":
            self._drop(message.ack.stored, self.acked)
        elif kind == "refuse":
            self._drop(message.refuse.refused, self.refused)
        else:
            for epoch, lost in decode_ranges(message.resend.lost).items():
                for lo, hi in lost:
                    for number in range(lo, hi + 1):
                        if number in self.spool[epoch]:
                            self.unsent.setdefault(epoch, RangeSet()).add(number, number)

    def _drop(self, ranges: Sequence[pb.EpochRanges], heap: set[Mine]) -> None:
        for epoch, gone in decode_ranges(ranges).items():
            for lo, hi in gone:
                heap.update((Source(self.node, epoch), number) for number in range(lo, hi + 1))
                for kept in (self.spool, self.unsent):
                    if epoch in kept:
                        kept[epoch].remove(lo, hi)


def bind(node: str, layout: pb.Layout) -> Callable[[str, pb.Report, float], int]:
    def decode(epoch: str, report: pb.Report, receipt: float) -> int:
        if report.seq % POISON == 0:
            raise Unusable("poison")
        return report.seq

    return decode


class Conversation(RuleBasedStateMachine):
    """The collector's side that is not under test is as small as can be: a list on its way, a counter of copies."""

    def __init__(self) -> None:
        super().__init__()
        self.agents = {node: Agent(node) for node in NODES}
        self.copies: Counter[Mine] = Counter()  # durable, survives the collector
        self.unsettled: list[Mine] = []
        self.room = True
        self.start_collector()

    def start_collector(self) -> None:
        self.on_the_way: list[Mine] = []
        self.streams: Streams[int] = Streams(Received(), self, bind, Terms("test", 120.0))
        stored: dict[Source, RangeSet] = {}
        for (source, number), copies in self.copies.items():
            if copies and (source, number) not in self.unsettled:
                stored.setdefault(source, RangeSet()).add(number, number)
        # An idempotent store (by series and time) may have what it did not say it has: the same row again is no copy.
        for mine in self.unsettled:
            self.copies[mine] -= 1
        self.unsettled = []
        self.streams.learn(stored.items())
        for agent in self.agents.values():
            agent.stream = None

    # what the streams call: the stages behind

    def hello(self, hello: pb.Hello, receipt: float, wall: float) -> tuple[str, int]:
        return "", 0

    def gone(self, node: str, receipt: float) -> None:
        pass

    def take(self, source: Source, judge: Sequence[int], store: Sequence[int], numbers: Sequence[int]) -> None:
        if self.room:
            self.on_the_way += [(source, number) for number in numbers]
        else:
            self.streams.dropped([Span(source, number, number) for number in numbers])

    def record(self, source: Source, events: Sequence[pb.Event]) -> None:
        pass

    def greeted(self, hello: pb.Hello, receipt: float) -> None:
        pass

    def fenced(self, node: str, fences: Sequence[pb.DeviceFence], receipt: float) -> None:
        pass

    def ledger(self, node: str, ledger: pb.Ledger, receipt: float) -> None:
        pass

    def processes(self, node: str, told: pb.Processes) -> None:
        pass

    def shed(self, node: str, reports: int) -> None:
        pass

    # rules

    @initialize()
    def connect_all(self) -> None:
        for node in NODES:
            self.connect(node)

    @rule(node=st.sampled_from(NODES))
    def connect(self, node: str) -> None:
        """Also while an older stream is thought to be open."""
        agent = self.agents[node]
        older = agent.stream
        agent.stream = self.streams.open(None, lambda: None)
        spooled = [pb.EpochRanges(epoch=epoch, ranges=[]) for epoch in agent.spool]
        self.say(agent, hello(node, agent.epoch, spooled=spooled))
        self.say(agent, layout(node))
        self.listen(node)
        if older is not None:
            self.streams.closed(older, 0.0)

    @rule(node=st.sampled_from(NODES))
    def cut_and_connect(self, node: str) -> None:
        self.cut(node)
        self.connect(node)

    @rule(node=st.sampled_from(NODES))
    def cut(self, node: str) -> None:
        agent = self.agents[node]
        if agent.stream is not None:
            self.streams.closed(agent.stream, 0.0)
            agent.stream = None

    @rule(node=st.sampled_from(NODES))
    def restart_agent(self, node: str) -> None:
        self.cut(node)
        self.agents[node].restart()
        self.connect(node)

    @rule(node=st.sampled_from(NODES), many=st.integers(0, 9), twice=st.booleans())
    def read_devices_and_send(self, node: str, many: int, twice: bool) -> None:
        """Twice: a copy on an older stream was still under way."""
        for _ in range(many):
            self.agents[node].make()
        self.send(node, twice)

    def send(self, node: str, twice: bool) -> None:
        agent = self.agents[node]
        if agent.stream is None:
            return
        for epoch, unsent in list(agent.unsent.items()):
            batch = [report(number, time_ms=int(WALL * 1000)) for lo, hi in unsent for number in range(lo, hi + 1)]
            agent.unsent[epoch] = RangeSet()
            for _ in range(1 + twice):
                self.say(agent, reports(*batch, node=node, epoch=epoch))

    @rule(node=st.sampled_from(NODES))
    def listen(self, node: str) -> None:
        agent = self.agents[node]
        if agent.stream is not None:
            for message in agent.stream.outgoing():
                agent.hear(message)

    @rule(most=st.integers(1, 10))
    def commit(self, most: int) -> None:
        done, self.on_the_way = self.on_the_way[:most], self.on_the_way[most:]
        self.copies.update(done)
        self.streams.committed([Span(source, number, number) for source, number in done])

    @rule(most=st.integers(1, 10))
    def write_unsettled(self, most: int) -> None:
        done, self.on_the_way = self.on_the_way[:most], self.on_the_way[most:]
        self.copies.update(done)
        self.unsettled += done

    @rule()
    def settle(self) -> None:
        settled, self.unsettled = self.unsettled, []
        self.streams.committed([Span(source, number, number) for source, number in settled])

    @rule()
    def lose_unsettled(self) -> None:
        lost, self.unsettled = self.unsettled, []
        self.copies.subtract(lost)
        self.streams.lost([Span(source, number, number) for source, number in lost])

    @rule(room=st.booleans())
    def fill_or_empty_the_writer(self, room: bool) -> None:
        self.room = room
        if room:
            self.streams.offer_again()

    @rule()
    def kill_the_collector(self) -> None:
        self.start_collector()
        self.connect_all()

    @invariant()
    def nothing_is_acknowledged_that_is_not_stored(self) -> None:
        for agent in self.agents.values():
            assert all(self.copies[mine] for mine in agent.acked)
            assert not agent.acked & set(self.unsettled)

    @invariant()
    def nothing_is_stored_twice(self) -> None:
        assert max(self.copies.values(), default=0) <= 1
        assert len(self.on_the_way) == len(set(self.on_the_way))

    @invariant()
    def only_poison_is_refused(self) -> None:
        for agent in self.agents.values():
            assert all(number % POISON == 0 for _, number in agent.refused)

    def teardown(self) -> None:
        """With everything well for a while, all that was ever read is stored, and every agent knows."""
        self.room = True
        self.settle()
        for node in NODES:
            if self.agents[node].stream is None:
                self.connect(node)
        self.streams.offer_again()
        for _ in range(3):
            for node in NODES:
                self.listen(node)
                self.send(node, twice=False)
            self.commit(10**6)
        for node in NODES:
            self.listen(node)
            agent = self.agents[node]
            assert agent.acked | agent.refused == agent.made
            assert not any(agent.spool.values())

    def say(self, agent: Agent, message: pb.FromAgent) -> None:
        assert agent.stream is not None
        self.streams.received(agent.stream, message.SerializeToString(), 0.0, WALL)
        assert agent.stream.closed is None, agent.stream.closed


Conversation.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestWhateverHappensNothingIsLostOrDoubled = Conversation.TestCase
