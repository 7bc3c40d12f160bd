"""The ledgers of schedulers: what they say goes into live state, and what they own onto the disk."""

import asyncio
import logging
import time
from collections.abc import Callable

from fallow_collector.api.answers import Refused, Unavailable, Unknown
from fallow_collector.ledgers.imports import Imports
from fallow_collector.ledgers.name import complaint_about
from fallow_collector.state import State, StateError
from fallow_proto import dispatch
from fallow_proto.v1 import telemetry_pb2 as pb

MOST = 16
"""Ledgers at once: a site has one or two, and each name stays in memory."""

log = logging.getLogger(__name__)


class Ledgers:
    """Implements api.ledgers.Ledgers. refresh: makes what was taken visible in the answers (View.refresh)."""

    def __init__(
        self, imports: Imports, state: State, refresh: Callable[[], object],
        monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time,
    ) -> None:
        """Takes up what was owned in an earlier run. Raises StateError."""
        self._imports = imports
        self._state = state
        self._refresh = refresh
        self._monotonic = monotonic
        self._wall = wall
        self._keeping = asyncio.Lock()
        self._complained: set[str] = set()
        imports.restore(state.load_owned())

    def ledgers(self) -> list[dispatch.LedgerState]:
        self._refresh()
        return [self._imports.state(name, self._monotonic()) for name in self._imports.names]

    async def take(self, name: str, taken: dispatch.LedgerImport) -> dispatch.LedgerState:
        self._check_room(name)
        if not self._imports.take(name, taken, self._monotonic(), self._wall()):
            raise Refused(
                f"ledger {name} was read {taken.age_s:.1f} s ago, and an import that was read later was taken already; "
                f"is the scheduler imported from two places?"
            )
        self._refresh()
        await self._keep_or_refuse(name)
        return self._imports.state(name, self._monotonic())

    async def give_back(self, name: str) -> None:
        if not self._imports.give_back(name):
            raise Unknown(f"there is no ledger {name}; there are: {', '.join(self._imports.names) or 'none'}")
        self._refresh()
        await self._keep_or_refuse(name)

    def ledger(self, node: str, ledger: pb.Ledger, now: float) -> None:
        """What an agent read from the scheduler's daemon on its node. now: monotonic, of its receipt."""
        try:
            if complaint := complaint_about(ledger.name):
                raise Refused(complaint)
            self._check_room(ledger.name)
        except Refused as refused:
            if str(refused) not in self._complained and len(self._complained) < MOST:
                self._complained.add(str(refused))
                log.warning("a node's ledger is refused node=%s problem=%r", node, str(refused))
            return
        self._imports.take_node(node, ledger, now, self._wall())

    async def keep(self) -> None:
        """Put on disk what changed in who owns what. Raises StateError."""
        async with self._keeping:
            for name in list(self._imports.unkept):
                self._imports.unkept.discard(name)
                try:
                    await asyncio.to_thread(self._state.replace_owned, name, self._imports.owned(name))
                except BaseException:
                    self._imports.unkept.add(name)
                    raise

    async def _keep_or_refuse(self, name: str) -> None:
        try:
            await self.keep()
        except StateError as error:
            raise Unavailable(
                f"ledger {name} counts from now, but would not be known after a restart of the collector: {error}"
            ) from error

    def _check_room(self, name: str) -> None:
        names = self._imports.names
        if name not in names and len(names) >= MOST:
            raise Refused(f"there are {MOST} ledgers already ({', '.join(names)}); delete one that is not used")
