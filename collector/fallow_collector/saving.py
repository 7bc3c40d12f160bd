"""What has to be on disk, put there in the background: events soon, the rest every few seconds, all at the end."""

import asyncio
import logging
import time

from fallow_collector.answers.cordons import Cordons
from fallow_collector.answers.ledgers import Ledgers
from fallow_collector.health.board import Board
from fallow_collector.journal import Journal
from fallow_collector.keep import Keeper
from fallow_collector.own import Own
from fallow_collector.pipeline import Pipeline, Waiting
from fallow_collector.state import State, StateError
from fallow_proto.failpoint import Point, reached

KEEP_S = 2.0
EVENTS_S = 0.2
EVENTS_RETRY_S = 5.0

log = logging.getLogger(__name__)


class Saving:
    """What the state does not take now is put back where it came from, and is tried again."""

    def __init__(
        self, state: State, keeper: Keeper, pipeline: Pipeline, journal: Journal, ledgers: Ledgers, cordons: Cordons,
        health: Board, own: Own,
    ) -> None:
        self._state = state
        self._keeper = keeper
        self._pipeline = pipeline
        self._journal = journal
        self._ledgers = ledgers
        self._cordons = cordons
        self._health = health
        self._own = own

    async def keep_events(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(EVENTS_S)
            if not await self._record():
                await asyncio.sleep(EVENTS_RETRY_S)

    async def keep_on(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(KEEP_S)
            await self._keep()

    async def finish(self) -> None:
        """All that there is, for the last time."""
        await self._record()
        await self._keep(stopping=True)

    async def _record(self) -> bool:
        """Whether the state has all events now, the agents' and our own."""
        waiting, own = self._pipeline.waiting_events() or Waiting([], []), self._journal.waiting()
        if not waiting.rows and not own:
            return True
        rows = self._pipeline.dated(waiting, time.monotonic(), time.time())
        try:
            await asyncio.to_thread(self._state.record, [*rows, *own])
            reached(Point.EVENTS_AFTER_COMMIT)
        except StateError as error:
            self._pipeline.events_are_put_back(waiting)
            self._journal.put_back(own)
            self._state_fails(error)
            return False
        self._pipeline.events_are_kept(waiting)
        self._own.state_problem = ""
        return True

    async def _keep(self, stopping: bool = False) -> None:
        changes = self._keeper.changes()
        try:
            await asyncio.to_thread(changes.save, self._state)
            await self._ledgers.keep()
            await self._cordons.keep(stopping)
            await self._keep_health(stopping)
        except StateError as error:
            self._keeper.put_back(changes)
            self._state_fails(error)
        else:
            if changes.seen or changes.learned:
                self._own.state_problem = ""

    async def _keep_health(self, stopping: bool) -> None:
        """Some of it, or all when stopping. Raises StateError."""
        while True:
            changes = self._health.keep()
            try:
                await asyncio.to_thread(changes.save, self._state)
            except StateError:
                self._health.put_back(changes)
                raise
            if not (stopping and changes.partial):
                return

    def _state_fails(self, error: StateError) -> None:
        if str(error) != self._own.state_problem:
            log.error("state cannot be kept problem=%r", str(error))
        self._own.state_problem = str(error)
