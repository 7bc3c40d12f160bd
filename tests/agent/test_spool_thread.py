"""The spool's thread: order is kept, a tick is one transaction, and a disk that hangs costs bounded memory."""

import asyncio
import threading
from pathlib import Path

from fallow_agent.spool.database import Database
from fallow_agent.spool.item import Commit, Dropped, Refused
from fallow_agent.spool.spool import MEMORY_BYTES, Spool
from fallow_agent.spool.thread import Committed, SpoolThread
from tests.agent.builders import START_MS, event, ranges, report


class SlowSpool(Spool):
    """A spool on a disk that answers when it is let."""

    def __init__(self, directory: Path, max_bytes: int, max_age_ms: int) -> None:
        super().__init__(directory, max_bytes, max_age_ms)
        self.answers = threading.Event()
        self.commits = 0

    def commit(self, commit: Commit, now_ms: int, now: float) -> Dropped:
        assert self.answers.wait(60.0)
        self.commits += 1
        return super().commit(commit, now_ms, now)


def opened(directory: Path) -> Spool:
    return Spool.open(directory, 64 << 20, 1 << 60, 0.0)


def test_what_was_kept_is_read_though_it_was_not_flushed(tmp_path: Path) -> None:
    async def run() -> None:
        spool = SpoolThread(opened(tmp_path), lambda _: None)
        spool.keep(report(1))
        spool.keep(event(2))
        items, until = await spool.read("a", 1, 9, 1 << 20, events=False)
        assert (items, until) == ([report(1), event(2)], 9)
        await spool.close(START_MS)

    asyncio.run(run())


def test_an_acknowledgement_that_overtakes_the_commit_trims_all_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        spool = SpoolThread(opened(tmp_path), lambda _: None)
        spool.keep(report(1))
        spool.trim(ranges(a=[(1, 1)]))
        spool.set_aside(Refused(ranges(a=[(2, 2)]), "poison"))
        spool.keep(report(2))
        spool.keep(report(3))
        await spool.close(START_MS)

    asyncio.run(run())
    again = Database(tmp_path / "spool.sqlite", 64 << 20, 1 << 60)
    assert again.recovered == ranges(a=[(3, 3)])
    assert again.counters().refused == 1
    again.close()


def test_while_a_commit_is_under_way_what_comes_gathers_for_the_next(tmp_path: Path) -> None:
    async def run() -> None:
        slow = SlowSpool(tmp_path, 64 << 20, 1 << 60)
        spool = SpoolThread(slow, lambda _: None)
        for seq in range(1, 101):
            spool.keep(report(seq))
            spool.flush(START_MS, sent=False)
            await asyncio.sleep(0)
        slow.answers.set()
        await spool.close(START_MS)
        assert slow.commits == 2

    asyncio.run(run())


def test_what_the_collector_was_sent_too_is_committed_together(tmp_path: Path) -> None:
    async def run() -> None:
        commits: asyncio.Queue[Committed] = asyncio.Queue()
        spool = SpoolThread(opened(tmp_path), commits.put_nowait)
        ticks = [
            (0, True, True), (1_000, True, False), (2_999, True, False), (3_000, True, True), (4_000, True, False),
            (4_001, False, True),  # the collector is away: nobody else has it
            (-3_600_000, True, True),  # the wall clock was set back
        ]
        for seq, (at_ms, sent, commits_now) in enumerate(ticks, 1):
            spool.keep(report(seq))
            spool.flush(START_MS + at_ms, sent=sent)
            if commits_now:
                async with asyncio.timeout(60.0):
                    await commits.get()
        await spool.close(START_MS)
        assert commits.empty(), "nothing was left for the end, and nothing was committed on its own"

    asyncio.run(run())


def test_a_disk_that_hangs_costs_bounded_memory_and_what_was_dropped_is_told(tmp_path: Path) -> None:
    async def run() -> Dropped:
        committed: list[Committed] = []
        slow = SlowSpool(tmp_path, 64 << 20, 1 << 60)
        spool = SpoolThread(slow, committed.append)
        spool.keep(report(1))
        spool.flush(START_MS, sent=False)
        for seq in range(2, 102):
            spool.keep(report(seq, padding=MEMORY_BYTES // 50))
        slow.answers.set()
        await spool.close(START_MS)
        assert committed[-1].counters.dropped_reports == committed[-1].dropped.reports
        return committed[-1].dropped

    dropped = asyncio.run(run())
    assert 50 <= dropped.reports <= 55
    assert dropped.ranges == ranges(a=[(2, dropped.reports + 1)])
