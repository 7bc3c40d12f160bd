"""How leases end: never straight to free. Its devices are released first, and each is free when it was seen clean."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from math import inf

from fallow_collector.leases.book import REMEMBERED_S, Book
from fallow_collector.leases.decision import Decision, Note, Window
from fallow_collector.leases.lease import ALLOCATION, Lease, orders
from fallow_collector.leases.table import Command, State, after
from fallow_proto.states import Allocation, EventKind


def let_go(book: Book, lease: Lease, command: Command, why: str, short: bool = False) -> Decision:
    """Release the devices of a lease that is reserved or leased; nothing happens to any other."""
    if lease.state is State.RELEASING or after(lease.state, command) is not State.RELEASING:
        return Decision()
    released = book.put(replace(
        lease, state=State.RELEASING, until=inf, why=why, short=short, fenced=frozenset(),
    ))
    return Decision(
        changed=(released,),
        allocations=tuple((uuid, ALLOCATION[State.RELEASING]) for uuid in released.open),
        windows=tuple(Window(uuid, short) for uuid in released.open),
        orders=orders(released) if released.was_committed else (),
    )


def expire(book: Book, now: float) -> Iterable[Decision]:
    """What time alone does: leases that nobody renewed are released, those that ended long ago are forgotten."""
    for lease in book.due(now):
        if lease.state is State.ENDED:
            book.forget(lease)
            yield Decision(forgotten=(lease.lease_id,))
        else:
            word = "renewed" if lease.state is State.LEASED else "committed"
            why = f"it was not {word} within its TTL of {lease.ttl_s:g} s"
            yield let_go(book, lease, Command.EXPIRE, why)
            yield Decision(notes=_notes(EventKind.LEASE_EXPIRED, lease, lease.open, why))


def leave(book: Book, uuids: Iterable[str], command: Command, now: float) -> Iterable[Decision]:
    """Devices that end their lease, because they were seen clean or because nobody will ever see them so.

    Their windows start once more: readings from before the release may have come after it, out of an agent's memory.
    """
    of_lease: defaultdict[str, set[str]] = defaultdict(set)
    for uuid in uuids:
        lease = book.of_device(uuid)
        if lease is not None and after(lease.state, command) is State.ENDED:
            of_lease[lease.lease_id].add(uuid)
    for lease_id, left in of_lease.items():
        lease = book.get(lease_id)
        assert lease is not None
        still = lease.open - left
        changed = book.put(
            replace(lease, open=still) if still
            else replace(lease, open=still, state=State.ENDED, until=now + REMEMBERED_S)
        )
        stuck = command is Command.STUCK
        yield Decision(
            changed=(changed,),
            allocations=tuple((uuid, Allocation.FREE) for uuid in left),
            windows=tuple(Window(uuid, lease.short and not stuck) for uuid in left),
            notes=_notes(EventKind.RELEASE_STUCK, lease, left, "and the device is still in use") if stuck else (),
        )


def _notes(kind: EventKind, lease: Lease, uuids: Iterable[str], what: str) -> tuple[Note, ...]:
    wanted = frozenset(uuids)
    return tuple(
        Note(kind, held.node, held.uuid, f"lease {lease.lease_id} of {lease.claimant.name or '-'} has ended: {what}")
        for held in lease.devices if held.uuid in wanted
    )
