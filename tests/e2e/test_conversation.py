"""The agent's half of the protocol and the collector's, with a spool and a store, through a pipe that breaks anywhere:
once all is well again, what the spool did not have to drop is in the store, once; live reports never wait for the
backlog, and the backlog keeps to its pace. Neither half has a wire, a thread or a clock here.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fallow_agent.spool.item import Item
from fallow_agent.uplink import words as w
from fallow_agent.uplink.batches import MAX_BYTES, MAX_REPORTS
from fallow_agent.uplink.protocol import BACKLOG_BYTES_PER_S, BACKLOG_IN_FLIGHT, State
from fallow_collector.ingest.received import Received
from fallow_collector.ingest.session import Terms
from fallow_collector.ingest.streams import Streams
from fallow_collector.series import Source
from fallow_proto.codec import decode_ranges
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.uplink.node import IDENTITY
from tests.e2e.halves import POISON, WALL, Key, Pipe, Unheard, Watched, bind, keys_in, spans


class Conversation(RuleBasedStateMachine, Unheard):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fallow-test-"))
        self.runs = 0
        self.now = 1_000.0
        self.made: dict[Key, Item] = {}
        self.newest_event: dict[tuple[str, str], int] = {}
        self.dropped: set[Key] = set()
        self.refused: set[Key] = set()
        self.copies: Counter[Key] = Counter()  # in the store, for good or not yet
        self.unsettled: list[Key] = []
        self.events: set[Key] = set()  # in the state, for good
        self.pipe: Pipe | None = None  # the one that the agent speaks into
        self.ghosts: list[Pipe] = []  # that it has given up, and the collector has not
        self.old_acks: list[pb.ToAgent] = []
        self.start_agent()
        self.start_collector()
        self.open_store()

    def teardown(self) -> None:
        if not hasattr(self, "node"):
            return
        try:
            self.all_is_well()
        finally:
            self.node.spool.close()
            shutil.rmtree(self.folder)

    # The node

    def start_agent(self) -> None:
        self.runs += 1
        self.node = Watched(f"run{self.runs}", self.folder / "spool", self.now)

    @rule(many=st.integers(1, 30), padding=st.sampled_from([0, 0, 0, 4_000, 60_000]), layouts=st.integers(1, 2))
    def sample(self, many: int, padding: int, layouts: int) -> None:
        for number in range(many):
            item = self.node.sample(devices=1 + number % layouts, padding=padding)
            self.made[item.epoch, item.seq] = item

    @rule(name=st.sampled_from("xyz"))
    def happen(self, name: str) -> None:
        item = self.node.happen(name)
        self.newest_event[item.epoch, name] = item.seq

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.node.now = self.now

    @precondition(lambda self: self.node.reads)
    @rule()
    def fail_to_read_spool(self) -> None:
        request = self.node.reads.pop(0)
        self.node.tell(w.SpoolRead(request, request.lo - 1, []))

    @rule()
    def step_clock(self) -> None:
        self.runs += 1
        self.node.begin_epoch(f"run{self.runs}")

    @rule()
    def list_processes_and_allocations(self) -> None:
        self.node.tell(w.Listed([pb.Processes(device="g0")]))
        self.node.tell(w.Allocated(pb.Ledger(name="slurm"), self.now))

    @rule()
    def renew_the_certificate(self) -> None:
        self.node.tell(w.Recertified())
        self.hang_up_if_asked()

    @rule()
    def kill_agent(self) -> None:
        self.dropped |= self.node.dropped
        self.node.spool.close()
        self.give_up()
        self.start_agent()

    # The wire

    @precondition(lambda self: self.node.uplink.state is State.WAITING)
    @rule()
    def dial(self) -> None:
        self.pipe = Pipe(self.streams.open(None, lambda: None, receipt=self.now))
        self.node.tell(w.Dialled())

    @precondition(lambda self: self.pipe is not None)
    @rule()
    def send(self) -> None:
        assert self.pipe is not None
        self.node.read_spool()
        self.pipe.up += [message.SerializeToString() for message in self.node.take()]

    @precondition(lambda self: self.pipe is not None)
    @rule(many=st.sampled_from([1, 3, 100]))
    def send_and_arrive(self, many: int) -> None:
        self.send()
        assert self.pipe is not None
        self.hear(self.pipe, many)

    @rule(rounds=st.integers(1, 5), commits=st.booleans())
    def talk(self, rounds: int, commits: bool) -> None:
        for _ in range(rounds):
            if self.pipe is None:
                self.dial()
            self.send_and_arrive(100)
            if commits and self.opened:
                self.commit(10, settles=True)
            self.answer(100)
            self.wait(0.1)

    def hear(self, pipe: Pipe, many: int) -> None:
        heard, pipe.up = pipe.up[:many], pipe.up[many:]
        for data in heard:
            self.streams.received(pipe.stream, data, self.now, WALL)

    @precondition(lambda self: self.pipe is not None)
    @rule(many=st.sampled_from([1, 100]))
    def answer(self, many: int) -> None:
        assert self.pipe is not None
        self.pipe.down += self.pipe.stream.outgoing()
        heard, self.pipe.down = self.pipe.down[:many], self.pipe.down[many:]
        for message in heard:
            self.note(message)
            self.node.tell(w.Received(message))
        if self.pipe.stream.closed is not None and not self.pipe.down:
            self.streams.closed(self.pipe.stream, self.now)
            self.lose()
        self.hang_up_if_asked()

    def note(self, message: pb.ToAgent) -> None:
        if message.WhichOneof("kind") == "ack":
            self.old_acks.append(message)
        self.refused |= keys_in(decode_ranges(message.refuse.refused))

    def hang_up_if_asked(self) -> None:
        if self.node.hang_ups:
            assert self.node.hang_ups == ["the certificate is new, and the next stream shows it"]
            self.node.hang_ups.clear()
            if self.pipe is not None:
                self.cut()

    @precondition(lambda self: self.pipe is not None)
    @rule()
    def cut(self) -> None:
        """The agent sees it at once, the collector when it likes."""
        self.give_up()
        self.node.wire.clear()
        self.node.tell(w.Lost("cut"))

    def give_up(self) -> None:
        if self.pipe is not None:
            self.ghosts.append(self.pipe)
        self.pipe = None

    def lose(self) -> None:
        """The collector has ended it already."""
        self.pipe = None
        self.node.wire.clear()
        self.node.tell(w.Lost("ended by the collector"))

    @precondition(lambda self: self.ghosts)
    @rule(many=st.integers(0, 3))
    def what_was_on_the_wire_arrives_late(self, many: int) -> None:
        self.hear(self.ghosts[0], many)

    @precondition(lambda self: self.ghosts)
    @rule()
    def the_collector_notices_a_cut(self) -> None:
        self.streams.closed(self.ghosts.pop(0).stream, self.now)

    @precondition(lambda self: self.old_acks and self.pipe is not None)
    @rule(which=st.integers(0, 1 << 16))
    def an_old_acknowledgement_comes_again(self, which: int) -> None:
        self.node.tell(w.Received(self.old_acks[which % len(self.old_acks)]))

    @precondition(lambda self: self.pipe is not None)
    @rule(epoch=st.sampled_from(["nobody's", "run1"]))
    def an_acknowledgement_of_what_was_never_sent_comes(self, epoch: str) -> None:
        self.node.ack(**{epoch: [(1 << 20, (1 << 64) - 1)]})

    # The collector

    def start_collector(self) -> None:
        self.opened = self.room = False
        self.on_the_way: list[Key] = []
        self.waiting_events: list[Key] = []
        self.judged: Key = ("", 0)
        self.told_dropped = 0
        self.streams: Streams[pb.Report] = Streams(Received(), self, bind, Terms("test", 120.0))

    @precondition(lambda self: not self.opened)
    @rule()
    def open_store(self) -> None:
        """It may come up long after the collector."""
        self.copies.subtract(self.unsettled)
        self.unsettled = []
        stored: dict[Source, RangeSet] = {}
        for (epoch, seq), copies in self.copies.items():
            if copies:
                stored.setdefault(Source(IDENTITY.node, epoch), RangeSet()).add(seq, seq)
        self.streams.learn(stored.items())
        self.opened = self.room = True
        self.streams.offer_again()

    @precondition(lambda self: self.opened)
    @rule(most=st.sampled_from([1, 10, 1_000]), settles=st.booleans())
    def commit(self, most: int, settles: bool) -> None:
        done, self.on_the_way = self.on_the_way[:most], self.on_the_way[most:]
        self.copies.update(done)
        if settles:
            self.streams.committed(spans(done))
        else:
            self.unsettled += done

    @rule(loses=st.booleans())
    def settle(self, loses: bool) -> None:
        """The store has them for good now, or has lost them."""
        settled, self.unsettled = self.unsettled, []
        if loses:
            self.copies.subtract(settled)
            self.streams.lost(spans(settled))
        else:
            self.streams.committed(spans(settled))

    @rule()
    def keep_events(self) -> None:
        kept, self.waiting_events = self.waiting_events, []
        self.events |= set(kept)
        self.streams.committed(spans(kept))

    @precondition(lambda self: self.opened)
    @rule(room=st.booleans())
    def fill_or_empty_the_writer(self, room: bool) -> None:
        self.room = room
        if room:
            self.streams.offer_again()

    @precondition(lambda self: self.pipe is not None)
    @rule()
    def fence_and_quiesce(self) -> None:
        asked = len(self.node.fences), len(self.node.quiesces)
        fence = pb.DeviceFence(device="g0", token=1, held=True)
        if self.streams.send_fences(IDENTITY.node, [fence]) and self.streams.send(
            IDENTITY.node, pb.ToAgent(quiesce=pb.Quiesce(for_s=60.0, by="ops"))
        ):
            self.answer(1 << 20)
            if (len(self.node.fences), len(self.node.quiesces)) != asked:
                self.node.tell(w.Kept([fence]))
                self.node.tell(w.Fenced([fence]))

    @rule(store_is_well=st.booleans())
    def kill_collector(self, store_is_well: bool) -> None:
        if self.pipe is not None:
            self.cut()
        self.ghosts = []
        self.start_collector()
        if store_is_well:
            self.open_store()

    # What the streams call: the stages behind

    def hello(self, hello: pb.Hello, receipt: float, wall: float) -> tuple[str, int]:
        self.told_dropped = hello.spool_dropped
        return self.judged

    def take(
        self, source: Source, judge: Sequence[pb.Report], store: Sequence[pb.Report], numbers: Sequence[int]
    ) -> None:
        for report in judge:
            epoch, last = self.judged
            assert source.epoch != epoch or report.seq > last, "evidence in order"
            if source.epoch == epoch:
                assert report.previous <= last or report.previous % POISON == 0 or self.was_away, "and without a gap"
            self.judged = source.epoch, report.seq
        if self.room:
            self.on_the_way += [(source.epoch, number) for number in numbers]
        else:
            self.streams.dropped(spans((source.epoch, number) for number in numbers))

    @property
    def was_away(self) -> bool:
        """Longer than evidence is kept for, so that a gap there is."""
        return self.node.uplink._ring.start > 0

    def record(self, source: Source, events: Sequence[pb.Event]) -> None:
        self.waiting_events += [(source.epoch, event.seq) for event in events]

    def shed(self, node: str, reports: int) -> None:
        self.told_dropped = reports

    # What must hold

    @property
    def stored(self) -> set[Key]:
        return {key for key, copies in self.copies.items() if copies} - set(self.unsettled)

    @invariant()
    def what_the_store_lacks_is_in_the_spool(self) -> None:
        held = self.node.spool.held()
        done = self.stored | self.events | self.refused | self.dropped | self.node.dropped
        newest = {(epoch, seq) for (epoch, _), seq in self.newest_event.items()}
        assert not [key for key in (self.made.keys() | newest) - done if key[1] not in held.get(key[0], ())]

    @invariant()
    def nothing_is_stored_twice(self) -> None:
        assert max(self.copies.values(), default=0) <= 1
        assert len(self.on_the_way) == len(set(self.on_the_way))
        assert not set(self.on_the_way) & self.stored

    @invariant()
    def only_poison_is_refused(self) -> None:
        assert all(seq % POISON == 0 for _, seq in self.refused)

    @invariant()
    def the_backlog_keeps_to_its_pace(self) -> None:
        sent = 0
        for at, size in reversed(self.node.backlog):
            assert sent <= (self.now - at) * BACKLOG_BYTES_PER_S + 2 * MAX_BYTES
            sent += size
        assert self.node.uplink.unacknowledged.backlog_in_flight() <= BACKLOG_IN_FLIGHT + MAX_REPORTS

    def all_is_well(self) -> None:
        while self.ghosts:
            self.the_collector_notices_a_cut()
        if not self.opened:
            self.open_store()
        self.fill_or_empty_the_writer(True)
        self.settle(loses=True)
        self.talk_until_all_is_done()
        gone = self.dropped | self.node.dropped
        assert self.made.keys() - self.refused - gone <= self.stored
        assert {(epoch, seq) for (epoch, _), seq in self.newest_event.items()} <= self.events | gone
        assert not self.node.spool.held()
        if self.pipe is not None:
            self.cut()
        self.talk_until_all_is_done()  # of what was let go of when it was on the wire, a Welcome says what is stored
        lost = {key for key in self.node.dropped if key in self.made} - self.stored - self.refused
        assert self.told_dropped >= len(lost)

    def talk_until_all_is_done(self) -> None:
        """At least once, with the same stream if there is one."""
        for _ in range(5_000):
            if self.pipe is None:
                self.dial()
            self.send_and_arrive(1 << 20)
            self.commit(1 << 20, settles=True)
            self.keep_events()
            self.answer(1 << 20)
            self.wait(1.0)
            if self.node.uplink.state is State.STREAMING and not (
                self.node.wire or self.node.reads or self.node.spool.held()
            ):
                break


TestWhateverBreaksAllIsStoredOnce = Conversation.TestCase
TestWhateverBreaksAllIsStoredOnce.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
