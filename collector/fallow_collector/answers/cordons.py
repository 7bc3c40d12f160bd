"""Cordons as operators set and lift them: on disk first, then on the fleet, then answered."""

import asyncio
import contextlib
import logging
import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from math import inf

import numpy as np

from fallow_collector.answers.numbers import known, rfc3339
from fallow_collector.api.answers import Unavailable, Unknown
from fallow_collector.api.cordons import Filter
from fallow_collector.cordons import quarantine
from fallow_collector.cordons.board import Board
from fallow_collector.cordons.entry import OURS, Clocks, Entry, kept, taken_up
from fallow_collector.cordons.quarantine import Failure
from fallow_collector.cordons.wanted import Wanted, check, entries
from fallow_collector.faulted import Faulted
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.phase import ALLOCATIONS, SERVICES
from fallow_collector.journal import Journal
from fallow_collector.state import CordonRow, State, StateError
from fallow_proto import api
from fallow_proto.dispatch import Cordon, CordonResult, Fault
from fallow_proto.states import Allocation, EventKind, Service

KEEP_S = 10.0
"""Between times at which what remains is kept: what a crash may add to a cordon that ends by itself."""

NAMED = 5  # unknown devices and nodes that a message names

_IN_SERVICE = SERVICES.index(Service.IN_SERVICE)
_HELD = [ALLOCATIONS.index(Allocation.RESERVED), ALLOCATIONS.index(Allocation.LEASED)]

log = logging.getLogger(__name__)


class Cordons:
    """Implements api.cordons.CordonDesk. All calls come from the event loop's thread.

    changed: has every answer see at once what was changed. clocks: monotonic and unix seconds.
    """

    def __init__(
        self, state: State, fleet: Fleet, engine: Engine, journal: Journal, changed: Callable[[], object],
        monotonic: Callable[[], float], wall: Callable[[], float],
    ) -> None:
        """Take up what an earlier run kept. Raises StateError."""
        self._state = state
        self._fleet = fleet
        self._engine = engine
        self._journal = journal
        self._changed = changed
        self._monotonic = monotonic
        self._wall = wall
        self._kept = {row.cordon_id: row for row in state.load_cordons()}
        self._kept_at = -inf
        at = self._clocks()
        self._board = Board(fleet, (taken_up(row, at) for _, row in sorted(self._kept.items())))
        self._any_out = False  # of what fleet.service says
        self._saving = asyncio.Lock()  # so that no older rows come after newer ones
        self._failures: dict[str, tuple[Failure, ...]] = {}  # by node

    def bring_up_to_date(self, now: float, wall: float) -> None:
        """Write what stands into fleet.service. A device that is back in service is verified anew: while it was out
        somebody may have worked on it. now: monotonic; wall: unix seconds."""
        if not self._board and not self._any_out:
            return
        at, count = Clocks(now, wall), self._fleet.count
        self._board.clear_over(at)
        before, service = self._fleet.service[:count], self._board.service(at)
        out = service != _IN_SERVICE
        back = np.flatnonzero((before != _IN_SERVICE) & ~out)
        self._fleet.service[:count] = service
        self._any_out = bool(out.any())
        if len(back):
            self._engine.restart(back)

    async def put(self, wanted: Wanted, dry_run: bool) -> CordonResult:
        """Raises Unfit, Unknown, Unavailable; nothing is done then."""
        at = self._clocks()
        check(wanted, at.wall)
        nodes_of = self._nodes_of(wanted.devices)
        self._know(wanted.nodes)
        ids = [_new_id(at.wall) for _ in range(len(wanted.devices) + len(wanted.nodes))]
        made = sorted(entries(wanted, ids, nodes_of, at), key=lambda entry: entry.cordon_id)
        if not dry_run:
            async with self._saving:
                await self._write([kept(entry, at) for entry in made], [])
                self._board.put(made)
            self._changed()
            log.info("event=%s owner=%r cordons=%d reason=%r", wanted.kind, wanted.owner, len(made), wanted.reason)
        return self._result(made, [] if dry_run else made)

    async def lift(self, cordon_id: str, owner: str, sites: Sequence[str] = ()) -> None:
        """sites: of which it may be, empty: all. Raises Faulted, Unavailable; nothing is done then."""
        self._liftable(cordon_id, owner, sites)
        async with self._saving:
            entry = self._liftable(cordon_id, owner, sites)  # it may have ended while others were saved
            await self._write([], [cordon_id])
            if self._board.find(cordon_id) is not None:
                self._board.lift(cordon_id)
        self._changed()
        log.info("event=uncordoned owner=%r by=%r cordon=%s", entry.owner, owner, cordon_id)

    def listed(self, which: Filter, limit: int, cursor: str | None) -> api.Page[Cordon]:
        """Sorted by id, which is by the time at which they were made."""
        at = self._clocks()
        found = sorted(
            (entry for entry in self._matching(which) if not entry.over(*at)), key=lambda entry: entry.cordon_id
        )
        names = [entry.cordon_id for entry in found]
        start = 0 if cursor is None else bisect_right(names, cursor)
        page = found[start : start + limit]
        more = start + limit < len(found)
        return api.Page(
            items=[self._shown(entry, at) for entry in page], next=page[-1].cordon_id if more else None,
            as_of=rfc3339(at.wall), complete=True,
        )

    def on_device(self, row: int) -> list[Cordon]:
        """Everything that stands on a device, or will in a window to come."""
        at = self._clocks()
        return [self._shown(entry, at) for entry in self._board.on_device(row) if not entry.over(*at)]

    async def failed_fast(self, node: str, lease_id: str, now: float) -> None:
        """A lease with devices of the node failed soon after it had begun. now: monotonic seconds.

        A quarantine counts at once, and is on disk when this returns; where the disk fails, it is at the next keep.
        """
        failures = quarantine.with_failure(self._failures.get(node, ()), Failure(lease_id, now))
        reason = quarantine.verdict(failures)
        if not reason:
            self._failures[node] = failures
            return
        self._failures.pop(node, None)
        if any(entry.owner == OURS and not entry.device and entry.node == node for entry in self._board.entries):
            return
        wall = self._wall()
        self._board.put([Entry(_new_id(wall), Service.CORDONED, "", node, OURS, reason, wall)])
        self._journal.note(EventKind.QUARANTINED, node, "", reason)
        self._changed()
        with contextlib.suppress(StateError):
            await self.keep()

    async def keep(self, stopping: bool = False) -> None:
        """Save what differs from what is on disk: at once what came or went, what remains every KEEP_S and when the
        collector stops. Raises StateError."""
        async with self._saving:
            at = self._clocks()
            rows = {entry.cordon_id: kept(entry, at) for entry in self._board.entries}
            if rows.keys() == self._kept.keys() and at.now - self._kept_at < KEEP_S and not stopping:
                return
            changed = [row for name, row in rows.items() if row != self._kept.get(name)]
            gone = [name for name in self._kept if name not in rows]
            if changed or gone:
                await asyncio.to_thread(self._state.save_cordons, changed, gone)
            self._kept = rows
            self._kept_at = at.now

    # --- parts of these ---

    async def _write(self, rows: list[CordonRow], lifted: list[str]) -> None:
        """Raises Unavailable."""
        try:
            await asyncio.to_thread(self._state.save_cordons, rows, lifted)
        except StateError as error:
            raise Unavailable(f"nothing was changed: {error}") from error
        self._kept.update((row.cordon_id, row) for row in rows)
        for name in lifted:
            self._kept.pop(name, None)

    def _liftable(self, cordon_id: str, owner: str, sites: Sequence[str]) -> Entry:
        entry = self._board.find(cordon_id)
        if entry is None or entry.over(*self._clocks()) or not self._is_of(entry, sites):
            raise Faulted(
                Fault.CORDON_NOT_FOUND,
                f"there is no cordon {cordon_id}: it was lifted, or has ended; `fallow cordons` lists those that stand",
            )
        if entry.owner not in (owner, OURS):
            raise Faulted(
                Fault.NOT_OWNER,
                f"cordon {cordon_id} is of {entry.owner}, and {owner or 'who asked without a name'} is not; "
                f"only its owner can lift it",
            )
        return entry

    def _nodes_of(self, uuids: Iterable[str]) -> dict[str, str]:
        rows = {uuid: self._fleet.find(uuid) for uuid in uuids}
        unknown = [uuid for uuid, row in rows.items() if row is None]
        if unknown:
            raise Unknown(f"there is no device {_some(unknown)}; `fallow devices` lists those that there are")
        return {uuid: self._fleet.nodes[self._fleet.owner[row]].name for uuid, row in rows.items()}

    def _know(self, nodes: Iterable[str]) -> None:
        unknown = [name for name in nodes if not name or self._fleet.node(name) is None]
        if unknown:
            raise Unknown(f"there is no node {_some(unknown)}; `fallow nodes` lists those that there are")

    def _result(self, made: list[Entry], standing: list[Entry]) -> CordonResult:
        fleet, at = self._fleet, self._clocks()
        rows = np.flatnonzero(Board(fleet, made).reach() & fleet.alive[: fleet.count])
        leased = rows[np.isin(fleet.owned(rows), _HELD)]
        return CordonResult(
            cordons=[self._shown(entry, at) for entry in standing],
            affected=sorted(fleet.identities[row].uuid for row in rows),
            leased=sorted(fleet.identities[row].uuid for row in leased),
        )

    def _matching(self, which: Filter) -> list[Entry]:
        found = self._board.entries
        if which.device:
            row = self._fleet.find(which.device)
            found = [] if row is None else self._board.on_device(row)
        if which.node:
            found = [entry for entry in found if self._node_of(entry) == which.node]
        return [entry for entry in found if which.owner in ("", entry.owner) and self._is_of(entry, which.sites)]

    def _is_of(self, entry: Entry, sites: Sequence[str]) -> bool:
        node = self._fleet.node(self._node_of(entry))
        return not sites or (node is not None and node.site in sites)

    def _node_of(self, entry: Entry) -> str:
        """Where the device is now; a device that is not known any more, where it was."""
        row = self._fleet.find(entry.device) if entry.device else None
        return entry.node if row is None else self._fleet.nodes[self._fleet.owner[row]].name

    def _shown(self, entry: Entry, at: Clocks) -> Cordon:
        return Cordon(
            cordon_id=entry.cordon_id, kind=str(entry.kind), owner=entry.owner, reason=entry.reason,
            device=entry.device or None, node=self._node_of(entry) or None, since=rfc3339(entry.since),
            starts=rfc3339(entry.start) if entry.window else None, expires_in_s=known(entry.left_s(*at)),
            ends=rfc3339(entry.end) if entry.window and entry.end < inf else None, active=entry.active(*at),
        )

    def _clocks(self) -> Clocks:
        return Clocks(self._monotonic(), self._wall())


def _new_id(wall: float) -> str:
    """Sorts by time; in hexadecimal: milliseconds, and 64 random bits: of 10,000 that are made at once, 32 bits would
    give two the same name once in a hundred times."""
    return f"{int(wall * 1000):011x}{secrets.token_hex(8)}"


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(name or "''" for name in names[:NAMED]) + (f" and {more} more" if more > 0 else "")
