"""Who has which device: leases, and everything that becomes of them. No I/O; time is an argument.

`now` is monotonic seconds, `wall` unix seconds. What is decided has happened here at once, so that nobody else can take
the devices; the Decision says what is left to perform. A call that raises Faulted has changed nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256

import msgspec

from fallow_collector.faulted import Faulted
from fallow_collector.leases import ending, fencing
from fallow_collector.leases.book import Book
from fallow_collector.leases.decision import Decision, Window, joined
from fallow_collector.leases.lease import ALLOCATION, Claimant, Held, Lease, orders
from fallow_collector.leases.table import Command, State, after
from fallow_collector.leases.tokens import Tokens
from fallow_proto.dispatch import HOLD_MAX_S, LEASE_TTL_MAX_S, LEASE_TTL_S, Claim, Fault, Reserve
from fallow_proto.states import Allocation
from fallow_proto.v1 import telemetry_pb2 as pb

FAILED_FAST_S = 120.0
"""A lease that is released as failed sooner than this after it began speaks against its node."""


class Ledger:
    """reserve_ttl_s: of a reservation that does not say. stuck_s: how long a device may be in use after its lease.
    wall: at the start."""

    def __init__(
        self, reserve_ttl_s: float, stuck_s: float, leases: Iterable[Lease] = (), last_token: int = 0,
        wall: float = 0.0,
    ) -> None:
        self.tokens = Tokens(last_token, wall)
        self._reserve_ttl_s = min(reserve_ttl_s, HOLD_MAX_S)
        self._stuck_s = stuck_s
        self._book = Book(leases)
        self._in_use_since: dict[str, float] = {}  # devices that are released, live and not clean

    # --- questions ---

    def lease(self, lease_id: str) -> Lease:
        """Raises Faulted for one that there is not, or not any more."""
        found = self._book.get(lease_id)
        if found is None or found.state is State.ENDED:
            raise not_found(lease_id)
        return found

    def leases(self) -> list[Lease]:
        """All that have not ended."""
        return [lease for lease in self._book if lease.state is not State.ENDED]

    def lease_of(self, uuid: str) -> Lease | None:
        """The one that has a device, until that is free again."""
        return self._book.of_device(uuid)

    def current(self, lease: Lease) -> Lease:
        """What became of it."""
        return self._book.get(lease.lease_id) or replace(
            lease, state=State.ENDED, open=frozenset(), why=lease.why or "so long ago that nothing else is known of it"
        )

    def allocations(self) -> Iterator[tuple[str, Allocation]]:
        """Every device that is not free, by uuid."""
        for lease in self._book:
            for uuid in lease.open:
                yield uuid, ALLOCATION[lease.state]

    # --- what holders ask ---

    def repeated(self, claimant: Claimant, wanted: Reserve) -> Lease | None:
        """The lease that this very request has made before; None: it is a new one. Raises Faulted KEY_REUSED."""
        lease = self._book.of_key(claimant, wanted.key) if wanted.key else None
        if lease is None:
            return None
        if lease.digest != _digest(wanted):
            raise Faulted(Fault.KEY_REUSED, (
                f"key {wanted.key!r} was used for another request, which made lease {lease.lease_id}; expected a new "
                f"key for each new request"
            ))
        _next(lease, Command.RESERVE)
        return lease

    def ttl_s(self, wanted: Reserve) -> float:
        """Raises Faulted BAD_TTL."""
        if wanted.hold:
            return _ttl(wanted.ttl_s, self._reserve_ttl_s, HOLD_MAX_S, "a reservation")
        return _ttl(wanted.ttl_s, LEASE_TTL_S, LEASE_TTL_MAX_S, "a lease")

    def reserve(
        self, claimant: Claimant, wanted: Reserve, devices: Sequence[Held], now: float, wall: float
    ) -> tuple[Lease, Decision]:
        """A new lease of devices that are idle now. Raises Faulted if one of them is somebody's."""
        ttl_s = self.ttl_s(wanted)
        taken = [held.uuid for held in devices if self._book.of_device(held.uuid) is not None]
        if taken:
            raise Faulted(Fault.NOT_IDLE, f"{', '.join(taken)} held by other leases; ask for others", taken)
        token = self.tokens.issue(wall)
        made = Lease(
            lease_id=f"lease-{token}", claimant=claimant, token=token, state=_move(None, Command.RESERVE), ttl_s=ttl_s,
            until=now + ttl_s, made=wall, began=float("-inf"), devices=tuple(devices),
            open=frozenset(held.uuid for held in devices), key=wanted.key, digest=_digest(wanted),
        )
        if not wanted.hold:
            made = replace(made, state=_move(made.state, Command.COMMIT), began=now)
        self._book.put(made)
        return made, _given(made)

    def commit(self, lease_id: str, caller: str, claim: Claim, now: float) -> tuple[Lease, Decision]:
        lease, state = self._claimed(lease_id, caller, claim, Command.COMMIT)
        ttl_s = _ttl(claim.ttl_s, LEASE_TTL_S, LEASE_TTL_MAX_S, "a lease")
        committed = self._book.put(replace(lease, state=state, ttl_s=ttl_s, until=now + ttl_s, began=now))
        return committed, _given(committed)

    def renew(self, lease_id: str, caller: str, claim: Claim, now: float) -> tuple[Lease, Decision]:
        """Prolong it to its TTL, or the one that is asked for, from now. Nodes that have not confirmed its token yet
        are sent it again."""
        lease, _ = self._claimed(lease_id, caller, claim, Command.RENEW)
        limit = HOLD_MAX_S if lease.state is State.RESERVED else LEASE_TTL_MAX_S
        ttl_s = _ttl(claim.ttl_s, lease.ttl_s, limit, f"a lease that is {lease.state}")
        renewed = self._book.put(replace(lease, ttl_s=ttl_s, until=now + ttl_s))
        unheard = tuple(order for order in orders(renewed) if order.fence.device not in renewed.fenced)
        return renewed, Decision(changed=(renewed,), orders=unheard if renewed.state is State.LEASED else ())

    def release(self, lease_id: str, caller: str, claim: Claim, now: float) -> tuple[Lease, Decision]:
        lease, _ = self._claimed(lease_id, caller, claim, Command.RELEASE)
        decision = ending.let_go(self._book, lease, Command.RELEASE, "its holder released it", short=True)
        fast = lease.state is State.LEASED and now - lease.began <= FAILED_FAST_S
        if fast and claim.outcome == "failed":
            decision = replace(decision, failed=tuple((node, lease_id) for node in lease.nodes))
        released = self.current(lease)
        return released, decision if decision.changed else Decision(changed=(released,))

    # --- what happens ---

    def expire(self, now: float) -> Decision:
        """What the time that has passed does to leases; to be asked before anything else is."""
        return joined(ending.expire(self._book, now))

    def pause(self, seconds: float) -> None:
        """Time in which nobody could be heard, and nothing was seen: it does not count."""
        self._book.pause(seconds)
        self._in_use_since = {uuid: since + seconds for uuid, since in self._in_use_since.items()}

    def seen(self, clean: Collection[str], in_use: Collection[str], now: float) -> Decision:
        """Of released devices with fresh readings from after the release: which were clean at the newest, and which
        not. What is silent is in neither."""
        since = self._in_use_since
        self._in_use_since = {uuid: since.get(uuid, now) for uuid in in_use}
        stuck = [uuid for uuid, at in self._in_use_since.items() if now - at >= self._stuck_s]
        return joined([
            *ending.leave(self._book, clean, Command.CLEAN, now), *ending.leave(self._book, stuck, Command.STUCK, now),
        ])

    def retired(self, uuid: str, now: float) -> Decision:
        """The device is gone for good: nothing will ever be seen of it. One that is reserved or leased stays so."""
        return joined(ending.leave(self._book, [uuid], Command.RETIRED, now))

    def owner(self, uuid: str) -> Lease | None:
        """The lease that has the device."""
        return self._book.of_device(uuid)

    def unkept(self, lease: Lease) -> Decision:
        """The disk did not take the decision that gave its devices away, so its holder was never told: who asks again
        with the same key asks anew."""
        current = replace(self.current(lease), key="")
        return ending.let_go(self._book, current, Command.UNKEPT, "it could not be kept on disk")

    def hello(
        self, node: str, present: Collection[str], fences: Sequence[pb.DeviceFence], now: float, wall: float
    ) -> Decision:
        """present: uuids of the node's devices. fences: the highest token that it ever took of each."""
        self._heard(fences)
        return joined(fencing.greet(self._book, node, present, fences, now, wall))

    def fenced(self, node: str, fences: Sequence[pb.DeviceFence]) -> Decision:
        """A node's answer to a Fence."""
        self._heard(fences)
        return joined(fencing.answer(self._book, node, fences))

    def _heard(self, fences: Iterable[pb.DeviceFence]) -> None:
        for fence in fences:
            self.tokens.heard(fence.token)

    def _claimed(self, lease_id: str, caller: str, claim: Claim, command: Command) -> tuple[Lease, State]:
        """A lease that its holder speaks of, and where the command leads. Raises Faulted."""
        lease = self._book.get(lease_id)
        if lease is None:
            raise not_found(lease_id)
        if lease.why == fencing.LOST:  # whose it was is known by name only
            raise over(lease)
        claimant = Claimant(caller, claim.holder)
        if lease.claimant.caller != caller or (claim.holder and claimant != lease.claimant):
            raise Faulted(Fault.NOT_HOLDER, (
                f"lease {lease_id} belongs to {lease.claimant.name or '-'}, found {claimant.name or '-'}; "
                f"only its holder may {command} it"
            ))
        found, expected = claim.fencing_token, lease.token
        if found < expected:
            raise Faulted(Fault.TOKEN_STALE, (
                f"fencing token {found} is lower than {expected}, which lease {lease_id} has: the work that it was "
                f"given to has lost its devices"
            ))
        if found > expected:
            raise Faulted(Fault.TOKEN_FOREIGN, f"fencing token {found} was never issued for lease {lease_id}")
        return lease, _next(lease, command)


def _given(lease: Lease) -> Decision:
    return Decision(
        changed=(lease,),
        allocations=tuple((uuid, ALLOCATION[lease.state]) for uuid in lease.open),
        windows=tuple(Window(uuid, short=False) for uuid in lease.open),  # how long it rests is counted from here
        orders=orders(lease) if lease.state is State.LEASED else (),
    )


def _next(lease: Lease, command: Command) -> State:
    """Raises Faulted where the table says so."""
    found = after(lease.state, command)
    match found:
        case State():
            return found
        case Fault.NOT_RESERVED:
            raise Faulted(found, f"lease {lease.lease_id} is committed already; renew it to keep it")
        case _:
            raise over(lease)


def _move(state: State | None, command: Command) -> State:
    found = after(state, command)
    assert isinstance(found, State)
    return found


def over(lease: Lease) -> Faulted:
    """What the holder of a lease that has ended is told."""
    fault = Fault.FENCED if lease.why == fencing.REFUSED else Fault.LEASE_ENDED
    return Faulted(fault, f"lease {lease.lease_id} has ended: {lease.why}; reserve anew")


def not_found(lease_id: str) -> Faulted:
    return Faulted(
        Fault.LEASE_NOT_FOUND, f"there is no lease {lease_id}: it never was, or it has ended"
    )


def _ttl(asked: float, default: float, limit: float, what: str) -> float:
    if asked == 0:
        return default
    if not 0 < asked <= limit:
        raise Faulted(Fault.BAD_TTL, f"ttl_s = {asked}, expected above 0 and at most {limit:g} for {what}")
    return asked


def _digest(wanted: Reserve) -> str:
    return sha256(msgspec.json.encode(wanted)).hexdigest()
