"""Where dispatchers come for leases: the shell that asks the ledger, and performs what it decides.

What was decided has happened in memory before anything is waited for, so that nobody else is given the devices; the
reply waits for the disk and, when devices are given away, for their nodes to keep the fencing token.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fallow_collector.answers.numbers import rfc3339
from fallow_collector.api.answers import Unavailable, Unknown
from fallow_collector.api.caller import ANYBODY, Caller
from fallow_collector.faulted import Faulted
from fallow_collector.fit.why_not import why_not
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle import phase
from fallow_collector.idle.assess import LIVE
from fallow_collector.idle.engine import Engine
from fallow_collector.leases import Claimant, Clock, Commits, Decision, Lease, LeaseFile, Ledger, Order, State
from fallow_collector.leases.file import Standing
from fallow_collector.leases.ledger import not_found, over
from fallow_collector.leases.offered import judged, refusal
from fallow_collector.leases.shown import held, shown
from fallow_collector.leases.sight import may_see
from fallow_collector.state import StateError
from fallow_proto import api, dispatch
from fallow_proto.dispatch import Claim, Fault, Request, Reserve
from fallow_proto.states import Allocation, EventKind
from fallow_proto.v1 import telemetry_pb2 as pb

FENCE_S = 2.0
"""How long a commit waits for the nodes to keep its token; what they have not confirmed by then they are sent again."""

CLOCK_S = 10.0
"""Between two times that the ledger's clock is kept: by so much a crash prolongs every lease at most."""

PAUSE_S = 5.0
"""Looks at the ledger are a second apart; so much, and this process did not run: it was suspended, or starved."""

RELEASING = phase.ALLOCATIONS.index(Allocation.RELEASING)

log = logging.getLogger(__name__)


class Chooser(Protocol):
    def choose(self, request: Request, sites: Sequence[str]) -> tuple[list[int], dispatch.Fit]:
        """Rows of the fleet that serve a request, none when it does not fit, and why. sites: of which, empty: all."""


class Around(NamedTuple):
    """What the desk has to do with. monotonic, wall: seconds.

    flush: judge what has come in. prepare: have cordons and ledgers written to the fleet as they are now. refresh: look
    at the whole fleet afresh, which that is a part of. send: fences to a node, False if it is not
    connected. note: an event of a node and device, with a message. failed_fast: on this node, this lease
    failed soon after it began, now; done when what follows from that is on disk.
    """

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    flush: Callable[[float], None]
    prepare: Callable[[], object]
    refresh: Callable[[], object]
    send: Callable[[str, Sequence[pb.DeviceFence]], bool]
    note: Callable[[EventKind, str, str, str], None]
    failed_fast: Callable[[str, str, float], Awaitable[None]]


class Desk:
    """Not thread-safe: one thread, the event loop's, calls everything."""

    def __init__(self, file: LeaseFile, fleet: Fleet, engine: Engine, chooser: Chooser, around: Around) -> None:
        """Takes up the leases of an earlier run. Raises StateError."""
        rows, standing = file.load()
        now = around.monotonic()
        self._clock = Clock.resumed(standing.clock, now)
        self._ledger = Ledger(
            engine.settings.reserve_ttl_s, engine.settings.release_stuck_s,
            map(self._clock.lease_of, rows), standing.last_token, around.wall(),
        )
        self._commits = Commits(file, self._standing)
        self._fleet = fleet
        self._engine = engine
        self._chooser = chooser
        self._around = around
        self._giving: dict[str, asyncio.Event] = {}  # by lease: it is on disk, or was taken back
        self._news: dict[str, asyncio.Event] = {}  # by lease: a node has confirmed or refused its token
        self._kept_at = self._ran_at = now
        self._take_up(now)

    @property
    def problem(self) -> str:
        """Why leases cannot be kept; empty when they can."""
        return self._commits.problem

    async def close(self) -> None:
        await self._commits.close()

    # --- what dispatchers ask; each raises Faulted, or Unavailable when the disk does not take it ---

    async def reserve(self, wanted: Reserve, caller: str, sites: Sequence[str] = ()) -> dispatch.Lease:
        """Devices that fit a request, or those that are named: all of them or none."""
        if self.problem:  # while the disk takes nothing, each try would take devices out for a whole window
            await self._done(self._commits.keep())
        claimant = Claimant(caller, wanted.holder)
        while True:
            now = self._advance()
            async with self._told_for_good():
                lease = self._ledger.repeated(claimant, wanted)
            if lease is None or lease.lease_id not in self._giving:
                break
            await self._giving[lease.lease_id].wait()  # it is not theirs if the disk does not take it
        if lease is not None:
            await self._keep(lease)
            return await self._answer(lease)
        self._ledger.ttl_s(wanted)
        self._around.flush(now)
        devices = [held(self._fleet, row) for row in self._choose(wanted, sites, now)]
        lease, decision = self._ledger.reserve(claimant, wanted, devices, now, self._around.wall())
        return await self._give(lease, decision, now)

    async def commit(self, lease_id: str, claim: Claim, caller: str) -> dispatch.Lease:
        now = self._advance()
        async with self._told_for_good():
            lease, decision = self._ledger.commit(lease_id, caller, claim, now)
        return await self._give(lease, decision, now)

    async def renew(self, lease_id: str, claim: Claim, caller: str) -> dispatch.Lease:
        now = self._advance()
        async with self._told_for_good():
            lease, decision = self._ledger.renew(lease_id, caller, claim, now)
        await self._done(self._perform(decision, now))
        self._send(decision.orders)
        return await self._answer(lease)

    async def release(self, lease_id: str, claim: Claim, caller: str) -> dispatch.Lease:
        now = self._advance()
        async with self._told_for_good():
            lease, decision = self._ledger.release(lease_id, caller, claim, now)
        failed = [self._around.failed_fast(node, lease_id, now) for node, lease_id in decision.failed]
        await asyncio.gather(self._done(self._perform(decision, now)), *failed)
        return self._shown(lease)

    async def settle(self) -> None:
        """Until all that was decided is on disk. Else a lease that was shown as over could be its holder's again after
        a crash, which sets the ledger's clock back."""
        await self._commits.settle()

    @asynccontextmanager
    async def _told_for_good(self) -> AsyncIterator[None]:
        """A refusal says what became of a lease: it waits for the disk like any answer."""
        try:
            yield
        except Faulted:
            await self._commits.settle()
            raise

    def lease(self, lease_id: str, asking: Caller = ANYBODY) -> dispatch.Lease:
        self._advance()
        lease = self._ledger.lease(lease_id)
        if not may_see(asking, lease, self._site_of):
            raise not_found(lease_id)
        return self._shown(lease)

    def lease_on(self, row: int) -> str | None:
        """The id of the lease that a device of the fleet is in."""
        lease = self._ledger.lease_of(self._fleet.identities[row].uuid)
        return None if lease is None else lease.lease_id

    def leases(
        self, holder: Sequence[str], limit: int, cursor: str | None, asking: Caller = ANYBODY
    ) -> api.Page[dispatch.Lease]:
        """Those of these holders, or all; sorted by id, the cursor is the last id of the page before."""
        self._advance()
        found = sorted(
            (lease for lease in self._ledger.leases()
             if lease.lease_id > (cursor or "") and (not holder or lease.claimant.name in holder)
             and may_see(asking, lease, self._site_of)),
            key=lambda lease: lease.lease_id,
        )
        return api.Page(
            items=[self._shown(lease) for lease in found[:limit]],
            next=found[limit - 1].lease_id if len(found) > limit else None,
            as_of=rfc3339(self._around.wall()), complete=True,
        )

    def _site_of(self, uuid: str) -> str | None:
        row = self._fleet.find(uuid)
        return None if row is None else self._fleet.site_of(row)

    def holder(self, uuid: str) -> str:
        """Who has the device, and by which lease; empty: nobody."""
        lease = self._ledger.owner(uuid)
        return "" if lease is None else f"{lease.claimant.name or '-'} (lease {lease.lease_id})"

    # --- what happens ---

    def retired(self, uuid: str) -> None:
        """An operator has given up a device that is absent: no reading will ever show that its lease has left it."""
        now = self._advance()
        self._perform(self._ledger.retired(uuid, now), now)

    def tick(self, now: float) -> None:
        """What time and readings do to leases. now: monotonic; to be called about once a second."""
        self._advance(now)
        self._take_up_new(now)
        self._watch_released(now)
        if now - self._kept_at >= CLOCK_S:
            self._kept_at = now
            self._commits.keep()

    def hello(self, hello: pb.Hello, now: float) -> None:
        """A node's inventory, which the fleet has taken over already, and the tokens that it keeps. now: monotonic."""
        self._take_up_new(now)  # before any reading of its devices is judged
        decision = self._ledger.hello(
            hello.node, [device.uuid for device in hello.devices if self._fleet.has(hello.node, device.uuid)],
            hello.fences, now, self._around.wall(),
        )
        self._perform(decision, now)
        self._send(order for order in decision.orders if order.fence.held)

    def fenced(self, node: str, fences: Sequence[pb.DeviceFence], now: float) -> None:
        """What a node keeps of the devices of a Fence."""
        self._perform(self._ledger.fenced(node, fences), now)

    def _advance(self, now: float | None = None) -> float:
        """What time has done to leases. Time in which this process did not run is not counted, as if it had been down:
        whoever renewed meanwhile could not be heard."""
        now = self._around.monotonic() if now is None else now
        away_s, self._ran_at = now - self._ran_at, now
        if away_s > PAUSE_S:
            log.warning("the collector did not run seconds=%.1f: all leases last so much longer", away_s)
            self._clock = self._clock.paused(away_s)
            self._ledger.pause(away_s)
        self._perform(self._ledger.expire(now), now)
        return now

    def _watch_released(self, now: float) -> None:
        """A released device is free when a reading from after the release was quiet and clean, and only while its node
        is heard."""
        fleet = self._fleet
        rows = np.flatnonzero(fleet.allocation[: fleet.count] == RELEASING)
        if not len(rows):
            return
        heard = (judged(fleet, self._engine, rows, now).freshness == LIVE) & (
            fleet.seen_at[rows] > fleet.allocated_at[rows]
        )
        clean = heard & self._engine.clean(rows)
        self._perform(self._ledger.seen(self._uuids(rows[clean]), self._uuids(rows[heard & ~clean]), now), now)

    # --- giving devices away ---

    def _choose(self, wanted: Reserve, sites: Sequence[str], now: float) -> NDArray[np.intp]:
        """Rows that are idle as they are asked for. Raises Faulted, Unknown."""
        if wanted.request is None:
            rows = np.array([self._row(uuid) for uuid in wanted.devices], dtype=np.intp)
            self._around.prepare()  # who owns a device that came just now, and whether it is in service
            refused = refusal(self._fleet, self._engine, rows, low=False, now=now)
        else:
            low = wanted.request.confidence == "low"
            rows = self._fitting(wanted.request, sites)
            refused = refusal(self._fleet, self._engine, rows, low, now)
            if refused is not None:  # the view that they were chosen from is a moment old
                self._around.refresh()
                rows = self._fitting(wanted.request, sites)
                refused = refusal(self._fleet, self._engine, rows, low, now)
        if refused is not None:
            raise refused
        return rows

    def _fitting(self, request: Request, sites: Sequence[str]) -> NDArray[np.intp]:
        rows, fit = self._chooser.choose(request, sites)
        if not rows:
            raise Faulted(Fault.NO_CAPACITY, why_not(request, fit))
        return np.array(rows, dtype=np.intp)

    async def _give(self, lease: Lease, decision: Decision, now: float) -> dispatch.Lease:
        kept = self._giving[lease.lease_id] = asyncio.Event()
        try:
            await self._done(self._perform(decision, now))
        except Unavailable:
            self._perform(self._ledger.unkept(lease), self._around.monotonic())
            raise
        finally:
            del self._giving[lease.lease_id]
            kept.set()
        if lease.state is State.LEASED:
            await self._fence(lease, decision.orders)
        return await self._answer(lease)

    async def _answer(self, lease: Lease) -> dispatch.Lease:
        """As it is now, after whatever was waited for. Raises Faulted when its holder has lost it meanwhile."""
        self._advance()
        current = self._ledger.current(lease)
        async with self._told_for_good():
            if current.state not in (State.RESERVED, State.LEASED):
                raise over(current)
        return self._shown(current)

    async def _fence(self, lease: Lease, orders: Sequence[Order]) -> None:
        """Until all nodes that can be reached have answered, but no longer than FENCE_S."""
        if self._ledger.current(lease).state is not State.LEASED:
            return
        news = self._news[lease.lease_id] = asyncio.Event()
        reached = self._send(orders)
        asked = {order.fence.device for order in orders if order.node in reached}
        try:
            async with asyncio.timeout(FENCE_S):
                while True:
                    current = self._ledger.current(lease)
                    if current.state is not State.LEASED or asked <= current.fenced:
                        return
                    news.clear()
                    await news.wait()
        except TimeoutError:
            return  # the reply says that it is not fenced
        finally:
            del self._news[lease.lease_id]

    # --- performing ---

    def _perform(self, decision: Decision, now: float) -> "asyncio.Future[None] | None":
        """All of it but the fences of devices that are given away, which must be on disk first. None: nothing is to be
        kept."""
        for uuid, allocation in decision.allocations:
            self._allocate(uuid, allocation, now)
        for short in (False, True):
            rows = [self._fleet.find(window.uuid) for window in decision.windows if window.short is short]
            known = np.array([row for row in rows if row is not None], dtype=np.intp)
            if len(known):
                self._engine.restart(known, short)
        for note in decision.notes:
            self._around.note(*note)
        self._send(order for order in decision.orders if not order.fence.held)
        for lease_id in decision.answered:
            if lease_id in self._news:
                self._news[lease_id].set()
        if not decision.changed and not decision.forgotten:
            return None
        return self._commits.keep(map(self._clock.row_of, decision.changed), decision.forgotten)

    def _send(self, orders: Iterable[Order]) -> set[str]:
        """The nodes that were reached."""
        of_node: defaultdict[str, list[pb.DeviceFence]] = defaultdict(list)
        for order in orders:
            of_node[order.node].append(order.fence)
        return {node for node, fences in of_node.items() if self._around.send(node, fences)}

    def _take_up_new(self, now: float) -> None:
        if self._rows_revision != self._fleet.rows_revision:
            self._take_up(now)

    def _take_up(self, now: float) -> None:
        """Every device that is not free is so in the fleet, rows that are new to it included."""
        for uuid, allocation in self._ledger.allocations():
            self._allocate(uuid, allocation, now)
        self._rows_revision = self._fleet.rows_revision

    def _allocate(self, uuid: str, allocation: Allocation, now: float) -> None:
        row = self._fleet.find(uuid)
        code = phase.ALLOCATIONS.index(allocation)
        if row is not None and self._fleet.allocation[row] != code:
            self._fleet.allocation[row] = code
            self._fleet.allocated_at[row] = now

    async def _keep(self, lease: Lease) -> None:
        await self._done(self._commits.keep([self._clock.row_of(lease)]))

    async def _done(self, kept: "asyncio.Future[None] | None") -> None:
        """Wait for the disk. Raises Unavailable."""
        if kept is None:
            return
        try:
            await asyncio.shield(kept)
        except StateError as error:
            raise Unavailable(str(error)) from error

    def _standing(self) -> Standing:
        return Standing(self._ledger.tokens.last, self._clock.shows(self._around.monotonic()))

    # --- looking up ---

    def _shown(self, lease: Lease) -> dispatch.Lease:
        return shown(lease, self._fleet, self._around.monotonic())

    def _row(self, uuid: str) -> int:
        row = self._fleet.find(uuid)
        if row is None:
            raise Unknown(f"there is no device {uuid}; `fallow devices` lists those that there are")
        return row

    def _uuids(self, rows: NDArray[np.intp]) -> list[str]:
        return [self._fleet.identities[row].uuid for row in rows]
