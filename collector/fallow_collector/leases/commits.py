"""Group commit: while the disk takes one group of decisions, those that come meanwhile gather for the next."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from fallow_collector.leases.file import LeaseFile, Standing
from fallow_collector.leases.rows import LeaseRow
from fallow_collector.state.file import StateError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Group:
    rows: dict[str, LeaseRow] = field(default_factory=dict)  # by lease; the newest wins
    forgotten: set[str] = field(default_factory=set)
    waiting: "list[asyncio.Future[None]]" = field(default_factory=list)


class Commits:
    """standing: what the last token and the clock are; asked on the event loop when a group leaves. problem: why the
    last group could not be kept, empty when it was."""

    def __init__(self, file: LeaseFile, standing: Callable[[], Standing]) -> None:
        self.problem = ""
        self._file = file
        self._standing = standing
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="leases")
        self._gathering = _Group()
        self._leaving: _Group | None = None  # what the disk takes at this moment
        self._writer: asyncio.Task[None] | None = None

    def keep(self, rows: Iterable[LeaseRow] = (), forgotten: Iterable[str] = ()) -> "asyncio.Future[None]":
        """Done when they are on disk; failed with StateError when the disk does not take them. They then go with the
        next group, so that the disk does not stay behind for longer than it must."""
        group = self._gathering
        group.rows.update((row.lease_id, row) for row in rows)
        for lease_id in forgotten:
            group.rows.pop(lease_id, None)
            group.forgotten.add(lease_id)
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        kept.add_done_callback(_is_seen)
        group.waiting.append(kept)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="leases")
        return kept

    async def settle(self) -> None:
        """Until the disk has taken, or refused, all that was decided before; at once if it has nothing to take."""
        group = self._gathering if self._gathering.waiting else self._leaving
        if group is not None:
            settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            group.waiting.append(settled)
            with suppress(StateError):
                await settled

    async def close(self) -> None:
        """Once nobody asks any more."""
        await self.keep()
        if self._writer is not None:
            await self._writer
        self._thread.shutdown()
        self._file.close()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._gathering.waiting:
            group, self._gathering = self._gathering, _Group()
            self._leaving = group
            error: Exception | None = None
            try:
                await loop.run_in_executor(
                    self._thread, self._file.write, list(group.rows.values()), group.forgotten, self._standing()
                )
            except StateError as failed:
                error = failed
                self._put_back(group)
            except Exception as failed:  # whoever waits must hear of it; again it would fail again
                log.error("BUG: leases cannot be written", exc_info=failed)
                error = StateError(f"leases cannot be written: {failed!r}")
            self._say(error)
            for kept in group.waiting:
                if not kept.done():
                    kept.set_exception(error) if error else kept.set_result(None)
        self._leaving = None
        self._writer = None

    def _put_back(self, group: _Group) -> None:
        newer = self._gathering
        newer.forgotten |= group.forgotten
        for lease_id, row in group.rows.items():
            if lease_id not in newer.forgotten:
                newer.rows.setdefault(lease_id, row)

    def _say(self, error: Exception | None) -> None:
        problem = str(error) if error else ""
        if problem != self.problem:
            if problem:
                log.error("leases cannot be kept problem=%r: nothing is leased until they can", problem)
            else:
                log.info("leases can be kept again")
        self.problem = problem


def _is_seen(kept: "asyncio.Future[None]") -> None:
    """Not everybody waits for the disk; `problem` says what those who do not would have heard."""
    if not kept.cancelled():
        kept.exception()
