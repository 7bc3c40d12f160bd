"""The spool's one thread: the event loop never waits for the disk, and a tick is at most one transaction."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic

from fallow_agent.spool.item import Commit, Counters, Dropped, Item, Ranges, Refused, merge
from fallow_agent.spool.spool import MEMORY_BYTES, Spool
from fallow_proto.ranges import RangeSet

TOGETHER_MS = 3_000
"""While a collector takes what it is sent, the commits of so long are one: a third of the disk's writes and of their
CPU time. An agent that is killed then lacks at most this much of what it had sent, and only if the collector dies with
it does anybody miss that. While the collector is away, nothing else has the reports, and each tick is committed."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit brought to light."""

    dropped: Dropped = field(default_factory=Dropped)
    recovered: Ranges = field(default_factory=dict)  # of a disk that could be opened only now
    counters: Counters = field(default_factory=Counters)
    damage: str = ""  # which file was set aside, or how much of one is gone
    problem: str = ""  # why the spool is not on disk; empty when it is


class SpoolThread:
    """Gathers what is to be done and does it in order; call it from the event loop only.

    A disk that takes seconds a write delays commits and nothing else; what waits for it is bounded like a spool in
    memory, and the oldest is dropped first.
    """

    def __init__(self, spool: Spool, done: Callable[[Committed], None]) -> None:
        """done: called in the event loop after each commit."""
        self._spool = spool
        self._done = done
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._trims: dict[str, RangeSet] = {}
        self._refusals: list[Refused] = []
        self._dropped = Dropped()
        self._commit: asyncio.Future[Committed] | None = None
        self._begun_ms = 0

    def keep(self, item: Item) -> None:
        self._items.append(item)
        self._bytes += len(item.body)
        while self._bytes > MEMORY_BYTES:
            oldest = self._items.popleft()
            self._bytes -= len(oldest.body)
            ranges = {oldest.epoch: RangeSet([(oldest.seq, oldest.seq)])}
            self._dropped += Dropped(ranges, reports=int(not oldest.event), events=int(bool(oldest.event)))

    def trim(self, ranges: Ranges) -> None:
        """The store has these for good."""
        merge(self._trims, ranges)

    def set_aside(self, refused: Refused) -> None:
        self._refusals.append(refused)

    def flush(self, now_ms: int, *, sent: bool) -> None:
        """Begin to commit what has gathered, unless a commit is under way: then a later call does.

        sent: the collector takes it as well, so that there is time until TOGETHER_MS after the last commit.
        """
        if sent and abs(now_ms - self._begun_ms) < TOGETHER_MS:  # either way: the wall clock may have been set
            return
        if self._commit is None and (self._items or self._trims or self._refusals):
            self._begin(now_ms)

    def _begin(self, now_ms: int) -> asyncio.Future[Committed]:
        self._begun_ms = now_ms
        commit = Commit(list(self._items), [self._trims], self._refusals)
        dropped = self._dropped
        self._items.clear()
        self._bytes = 0
        self._trims, self._refusals, self._dropped = {}, [], Dropped()
        self._commit = asyncio.get_running_loop().run_in_executor(
            self._executor, self._perform, commit, dropped, now_ms
        )
        self._commit.add_done_callback(self._finished)
        return self._commit

    def _perform(self, commit: Commit, dropped: Dropped, now_ms: int) -> Committed:
        self._spool.count(dropped)
        dropped += self._spool.commit(commit, now_ms, monotonic())
        spool = self._spool
        return Committed(dropped, spool.recovered(), spool.counters(), spool.damage(), spool.problem)

    def _finished(self, commit: asyncio.Future[Committed]) -> None:
        self._commit = None
        self._done(commit.result())

    async def read(self, epoch: str, lo: int, hi: int, max_bytes: int, *, events: bool) -> tuple[list[Item], int]:
        """As Spool.read, and after all that was kept until now."""
        now_ms = self._items[-1].time_ms if self._items else 0
        if self._commit is not None:
            await asyncio.wait([self._commit])
        if self._commit is None and self._items:
            self._begin(now_ms)
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, self._read, epoch, lo, hi, max_bytes, events
        )

    def _read(self, epoch: str, lo: int, hi: int, max_bytes: int, events: bool) -> tuple[list[Item], int]:
        return self._spool.read(epoch, lo, hi, max_bytes, monotonic(), events=events)

    async def close(self, now_ms: int) -> None:
        """Commit what is left and close. May take as long as the disk does: give it a time limit."""
        if self._commit is not None:
            await asyncio.wait([self._commit])
        if self._items or self._trims or self._refusals:
            await asyncio.wait([self._begin(now_ms)])
        await asyncio.get_running_loop().run_in_executor(self._executor, self._close, now_ms)
        self._executor.shutdown(wait=False)

    def _close(self, now_ms: int) -> None:
        self._spool.try_disk(now_ms, monotonic())
        self._spool.close()
