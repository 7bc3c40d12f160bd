"""The spool beside a model of it, under writes, acknowledgements, refusals, limits, kills, full disks and damage in any
order: what it was given and neither settled nor dropped comes out again, in order and as it was; what goes first is the
oldest reading and last an event; its counters are exact, and nothing is fatal.
"""

import resource
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fallow_agent.spool.item import Commit, Counters, Dropped, Item, Ranges, Refused
from fallow_agent.spool.spool import FILE, Spool
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.builders import START_MS, layout

MAX_BYTES = 256 << 10
MAX_AGE_MS = 3_600_000
WAL = f"{FILE}-wal"
HEADER_BYTES = 32  # of that log
FRAME_BYTES = 24 + 4096
SALTS_END = 16  # in a frame
UNKNOWN = "an epoch that nobody knows"
FLIP = st.integers(1, 255)

Key = tuple[str, int]


@dataclass(frozen=True)
class Known:
    """What the spool must have, and what it must have counted."""

    held: dict[Key, Item] = field(default_factory=dict)  # in the order in which it was written
    counters: Counters = field(default_factory=Counters)


@contextmanager
def no_file_grows_beyond(size: int | None) -> Iterator[None]:
    """As on a full disk, writes fail in the kernel."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size is None else size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class SpoolAndModel(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.parent = Path(tempfile.mkdtemp(prefix="fallow-test-"))
        self.folders = 0
        self.folder = self.parent / "0"
        self.now, self.wall_ms = 0.0, START_MS
        self.epochs = ["e1"]
        self.seq = 0
        self.full_at: int | None = None
        self.written: dict[Key, bytes] = {}
        self.replaced: set[Key] = set()  # events of which a newer self came; they may be there until the disk hears it
        self.volatile: set[Key] = set()  # in memory only
        self.model = self.durable = Known()
        self.open()

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            shutil.rmtree(self.parent)

    def open(self) -> None:
        self.volatile = set()
        with no_file_grows_beyond(self.full_at):
            self.spool = Spool.open(self.folder, MAX_BYTES, MAX_AGE_MS, self.now)

    # What the agent does

    def commit(self, items: Iterable[Item] = (), settled: Ranges | None = None, refused: Ranges | None = None) -> None:
        items = list(items)
        before = self.model
        held = dict(before.held)
        for item in items:
            self.written[item.epoch, item.seq] = item.body
            for key, other in list(held.items()):
                if item.event and (other.epoch, other.event) == (item.epoch, item.event):
                    del held[key]
                    self.replaced.add(key)
            held[item.epoch, item.seq] = item
        for key in within(held, settled or {}):
            del held[key]
        there = {*held, *(key for key in self.replaced if key in self.found())}
        many = len(within(there, refused or {}))
        for key in within(held, refused or {}):
            del held[key]
        change = Commit(items, [settled] if settled else [], [Refused(refused, "poison")] if refused else [])
        with no_file_grows_beyond(self.full_at):
            dropped = self.spool.commit(change, self.wall_ms, self.now)
        self.check_recovered()
        self.volatile |= {(item.epoch, item.seq) for item in items}
        self.check_dropped(dropped, held)
        for key in within(held, dropped.ranges):
            del held[key]
        added = Counters(dropped.reports, dropped.events, refused=many)
        self.model = Known(held, before.counters + added)
        if not self.spool.problem:
            self.volatile, self.replaced = set(), set()
            self.durable = self.model

    def check_dropped(self, dropped: Dropped, held: dict[Key, Item]) -> None:
        """held: what there is but for what was dropped."""
        gone = keys_in(dropped.ranges)
        candidates = {key: item for key, item in held.items() if not self.spool.problem or key in self.volatile}
        assert gone <= candidates.keys() | self.replaced
        assert len(gone) == dropped.reports + dropped.events
        for events in (False, True):
            mine = [key for key, item in candidates.items() if bool(item.event) is events]
            assert gone.intersection(mine) == set(mine[: len(gone.intersection(mine))]), "the oldest first"
            left = [held[key] for key in mine if key not in gone]
            if left and not self.spool.problem:
                assert left[0].time_ms >= self.wall_ms - MAX_AGE_MS
        young = {key for key in gone if key in held and held[key].time_ms >= self.wall_ms - MAX_AGE_MS}
        if any(held[key].event for key in young):
            assert not [key for key, item in candidates.items() if not item.event and key not in gone], "events last"
        assert not young or sum(len(item.body) for item in candidates.values()) > MAX_BYTES // 3

    @rule(many=st.integers(1, 40), padding=st.sampled_from([0, 0, 300, 4_000, 9_000]), devices=st.integers(1, 3))
    def write_reports(self, many: int, padding: int, devices: int) -> None:
        self.commit([self.report(padding, devices) for _ in range(many)])

    @rule(names=st.lists(st.sampled_from("xyz"), min_size=1, max_size=3), padding=st.sampled_from([0, 9_000]))
    def write_events(self, names: list[str], padding: int) -> None:
        self.commit(self.event(name, padding) for name in names)

    @rule(many=st.integers(1, 20))
    def write_a_storm_of_events(self, many: int) -> None:
        self.commit(self.event(f"{len(self.written)}-{number}", 9_000) for number in range(many))

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        self.commit(settled=self.ranges(data))

    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        self.commit(refused=self.ranges(data))

    @rule(data=st.data(), many=st.integers(0, 3))
    def write_settle_and_refuse_at_once(self, data: st.DataObject, many: int) -> None:
        self.commit([self.report(0, 1) for _ in range(many)], self.ranges(data), self.ranges(data))

    @rule(data=st.data(), max_bytes=st.sampled_from([1, 500, 20_000]), events=st.booleans())
    def read_on(self, data: st.DataObject, max_bytes: int, events: bool) -> None:
        """Message by message, as the uplink does."""
        epoch = data.draw(st.sampled_from(self.epochs))
        at, found = 1, []
        while at <= self.seq:
            items, until = self.spool.read(epoch, at, self.seq, max_bytes, self.now, events=events)
            assert until >= at
            assert sum(len(item.body) for item in items[:-2]) <= 2 * max_bytes  # of a disk and of a memory
            found += items
            at = until + 1
        assert [item for item in found if (item.epoch, item.seq) not in self.replaced] == [
            item for key, item in self.model.held.items()
            if key[0] == epoch and key[1] <= self.seq and (item.event or not events) and self.is_readable(key)
        ]

    @rule(step_h=st.sampled_from([0, 0, 1, -1]))
    def begin_epoch(self, step_h: int) -> None:
        """step_h: by how much the wall clock is set."""
        self.wall_ms += step_h * 3_600_000
        self.epochs.append(f"e{len(self.epochs) + 1}")
        self.seq = 0

    @rule(seconds=st.sampled_from([1, 20, 40, 1_500, 7_200]))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.wall_ms += seconds * 1_000

    # What happens to it

    @rule(more=st.sampled_from([0, 2_000, 7_000, 30_000]))
    def fill_the_disk(self, more: int) -> None:
        self.full_at = max((file.stat().st_size for file in self.folder.iterdir()), default=0) * bool(more) + more

    @rule()
    def empty_the_disk(self) -> None:
        self.full_at = None

    @rule()
    def stop_and_start(self) -> None:
        in_trouble = self.spool.problem
        with no_file_grows_beyond(self.full_at):
            self.spool.try_disk(self.wall_ms, self.now)
        if in_trouble and not self.spool.problem:  # nobody is left to be told what was dropped, but it is counted
            found, counters = self.found(), self.spool.counters()
            assert found.keys() <= self.model.held.keys()
            gone = counters.dropped_reports + counters.dropped_events - sum(self.model.counters[:2])
            assert gone == len(self.model.held) - len(found)
            self.model = self.durable = Known(found, self.model.counters._replace(
                dropped_reports=counters.dropped_reports, dropped_events=counters.dropped_events
            ))
        with no_file_grows_beyond(self.full_at):
            self.spool.close()
        self.start_with_what_is_on_disk()

    @rule()
    def kill_and_start(self) -> None:
        killed, self.folder = self.folder, self.another_folder()
        shutil.copytree(killed, self.folder)
        self.spool.close()
        shutil.rmtree(killed)
        self.start_with_what_is_on_disk()

    def start_with_what_is_on_disk(self) -> None:
        self.model = self.durable
        self.replaced = set()
        self.open()
        self.check_recovered()
        self.epochs.append(f"e{len(self.epochs) + 1}")
        self.seq = 0

    def check_recovered(self) -> None:
        """It is told once, when the file is opened."""
        if recovered := self.spool.recovered():
            assert keys_in(recovered) == self.durable.held.keys()

    @precondition(lambda self: self.full_at is None and self.durable.held and not self.spool.problem)
    @rule(which=st.integers(0, 1 << 16), at=st.integers(0, 39))
    def damage_one_record(self, which: int, at: int) -> None:
        """Also while some are in memory: they are lost as in a kill."""
        self.spool.close()  # its log is in the file then
        key, item = list(self.durable.held.items())[-1 - which % len(self.durable.held)]
        whole, begins = (self.folder / FILE).read_bytes(), item.body[:40]  # with its time, which no other has
        spoilt = bytearray(begins)
        spoilt[at % len(begins)] ^= 0x55
        assert begins in whole
        (self.folder / FILE).write_bytes(whole.replace(begins, bytes(spoilt)))
        self.start_with_what_is_on_disk()
        assert key not in self.found()
        held = {other: kept for other, kept in self.durable.held.items() if other != key}
        self.model = self.durable = Known(held, self.durable.counters + Counters(damaged=1))

    @precondition(lambda self: self.full_at is None)
    @rule(at=st.floats(0, 1, exclude_max=True), flip=FLIP)
    def damage_a_copy_of_the_file(self, at: float, flip: int) -> None:
        def spoil(folder: Path) -> None:
            Spool.open(folder, MAX_BYTES, MAX_AGE_MS, self.now).close()  # its log is in the file then
            flip_byte(folder / FILE, int(at * (folder / FILE).stat().st_size), flip)

        found, counters = self.spoilt(spoil)
        assert found.keys() <= self.durable.held.keys()
        if self.durable.held.keys() - found.keys():
            assert counters.damaged > self.durable.counters.damaged or counters.quarantined

    @precondition(lambda self: self.full_at is None and self.log_bytes > HEADER_BYTES + FRAME_BYTES)
    @rule(at=st.floats(0, 1, exclude_max=True), inside=st.integers(SALTS_END, FRAME_BYTES - 1), flip=FLIP)
    def damage_the_log_of_a_copy(self, at: float, inside: int, flip: int) -> None:
        """Anywhere but in the salts of a frame, by which it is known from what was in the file before."""
        frame = int(at * ((self.log_bytes - HEADER_BYTES) // FRAME_BYTES))
        found, counters = self.spoilt(lambda folder: flip_byte(folder / WAL, self.place_in_log(frame, inside), flip))
        if self.durable.held.keys() - found.keys():
            assert counters.damaged or counters.quarantined

    def place_in_log(self, frame: int, inside: int) -> int:
        return HEADER_BYTES + frame * FRAME_BYTES + inside

    @property
    def log_bytes(self) -> int:
        log = self.folder / WAL
        return log.stat().st_size if log.exists() else 0

    def spoilt(self, spoil: Callable[[Path], None]) -> tuple[dict[Key, Item], Counters]:
        """What a damaged copy gives out, and has counted. It must take new reports."""
        copy = self.another_folder()
        shutil.copytree(self.folder, copy)
        spoil(copy)
        spool = Spool.open(copy, MAX_BYTES, MAX_AGE_MS, self.now)
        found = read_all(spool, self.epochs, self.now, tries=2)  # the first may be what shows the damage
        counters = spool.counters()
        assert all(self.written[key] == item.body for key, item in found.items())
        for _ in range(2):
            spool.commit(Commit([self.report(0, 1)]), self.wall_ms, self.now)
        assert not spool.problem
        spool.close()
        shutil.rmtree(copy)
        return found, counters

    # What must hold

    @invariant()
    def what_was_neither_settled_nor_dropped_comes_out_as_it_went_in(self) -> None:
        found = self.found()
        expected = {key: item for key, item in self.model.held.items() if self.is_readable(key)}
        assert [key for key in found if key not in self.replaced] == list(expected)
        assert {key: item for key, item in found.items() if key not in self.replaced} == expected

    @invariant()
    def it_is_bounded(self) -> None:
        for in_memory in (False, True):
            mine = [item for key, item in self.model.held.items() if (key in self.volatile) is in_memory]
            assert sum(len(item.body) for item in mine) <= MAX_BYTES

    @invariant()
    def every_counter_is_exact(self) -> None:
        counted, expected = self.spool.counters(), self.model.counters
        if self.spool._disk is None:
            counted += self.durable.counters
        if self.spool.problem:  # of what is on disk, refusals are counted when the disk hears of them
            counted, expected = counted._replace(refused=0), expected._replace(refused=0)
        assert counted == expected

    # Helpers

    def is_readable(self, key: Key) -> bool:
        """On a full disk the file cannot be opened: what is in it waits."""
        return self.spool._disk is not None or key in self.volatile

    def found(self) -> dict[Key, Item]:
        return read_all(self.spool, self.epochs, self.now)

    def another_folder(self) -> Path:
        self.folders += 1
        return self.parent / str(self.folders)

    def report(self, padding: int, devices: int) -> Item:
        self.seq += 1
        self.wall_ms += 1
        message = pb.Report(
            seq=self.seq, previous=self.seq - 1, time_ms=self.wall_ms,
            readings=[pb.Readings(block=0, gauges=[0.25] * (devices + padding // 4))],
        )
        return Item(self.epochs[-1], self.seq, self.wall_ms, message.SerializeToString(), layout(devices))

    def event(self, name: str, padding: int) -> Item:
        self.seq += 1
        self.wall_ms += 1
        message = pb.Event(seq=self.seq, id=name, kind="reader_failed", count=1, first_ms=self.wall_ms,
                           message="?" * padding)
        return Item(self.epochs[-1], self.seq, self.wall_ms, message.SerializeToString(), event=name)

    def ranges(self, data: st.DataObject) -> dict[str, RangeSet]:
        """Arbitrary ones, also of what was never written."""
        named = data.draw(st.lists(st.sampled_from([*self.epochs[-3:], UNKNOWN]), max_size=2, unique=True))
        number = st.one_of(st.integers(0, 60), st.just((1 << 64) - 1))
        return {
            epoch: RangeSet([(min(pair), max(pair))])
            for epoch in named for pair in [data.draw(st.tuples(number, number))]
        }


def keys_in(ranges: Ranges) -> set[Key]:
    return {(epoch, seq) for epoch, pairs in ranges.items() for lo, hi in pairs for seq in range(lo, hi + 1)}


def within(keys: Iterable[Key], ranges: Ranges) -> list[Key]:
    return [key for key in keys if key[1] in ranges.get(key[0], ())]


def read_all(spool: Spool, epochs: Sequence[str], now: float, tries: int = 1) -> dict[Key, Item]:
    end = 1 << 30
    for _ in range(tries):
        reads = [spool.read(epoch, 0, end, 1 << 30, now) for epoch in epochs]
        if all(until == end for _, until in reads):
            return {(item.epoch, item.seq): item for items, _ in reads for item in items}
    raise AssertionError(f"it cannot be read: {spool.problem}")


def flip_byte(path: Path, at: int, flip: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ flip]))


TestSpoolAndModel = SpoolAndModel.TestCase
TestSpoolAndModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
