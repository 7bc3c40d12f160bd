"""What nodes say of fencing tokens: confirmed, not heard yet, refused for a higher one, or of a lease that is lost."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from math import inf

from fallow_collector.leases.book import Book
from fallow_collector.leases.decision import Decision, Note, Window
from fallow_collector.leases.ending import let_go
from fallow_collector.leases.lease import Claimant, Held, Lease, Order, fence_of
from fallow_collector.leases.table import Command, State
from fallow_proto.states import Allocation, EventKind
from fallow_proto.v1 import telemetry_pb2 as pb

LOST = "the collector has lost its record of it"
REFUSED = "its node keeps a higher fencing token than its own"


def answer(book: Book, node: str, fences: Iterable[pb.DeviceFence]) -> Iterable[Decision]:
    """A node's Fenced: what it keeps of the devices of a Fence."""
    for fence in fences:
        lease = book.of_device(fence.device)
        if lease is not None and Held(fence.device, node) in lease.devices:
            yield _compare(book, lease, node, fence)


def greet(
    book: Book, node: str, present: Collection[str], fences: Iterable[pb.DeviceFence], now: float, wall: float
) -> Iterable[Decision]:
    """A node's Hello, with all that it keeps of its devices: tell it what it does not know yet.

    present: uuids of its devices.
    """
    kept = {fence.device: fence for fence in fences}
    for uuid in present:
        lease, fence = book.of_device(uuid), kept.get(uuid)
        if lease is not None and Held(uuid, node) in lease.devices:
            if fence is not None:
                yield _compare(book, lease, node, fence)
                lease = book.of_device(uuid)
            yield _remind(lease, node, uuid, fence)
        elif lease is None and fence is not None and fence.held:
            known = book.get(fence.lease_id)
            if known is None or (known.why == LOST and known.state is not State.ENDED):
                yield _adopt(book, known, Held(uuid, node), fence, now, wall)
            yield Decision(orders=(_end(node, fence),))


def _compare(book: Book, lease: Lease, node: str, fence: pb.DeviceFence) -> Decision:
    if fence.token > lease.token:
        refused = let_go(book, lease, Command.FENCED_HIGHER, REFUSED)
        message = (
            f"the node keeps fencing token {fence.token} of lease {fence.lease_id or '-'}, and lease {lease.lease_id} "
            f"of {lease.claimant.name or '-'} has {lease.token}: the lease ends"
        )
        notes = (Note(EventKind.FENCE_REFUSED, node, fence.device, message),) if refused.changed else ()
        return replace(refused, notes=notes, answered=(lease.lease_id,))
    if fence.token == lease.token and fence.held == (lease.state is State.LEASED):
        book.put(replace(lease, fenced=lease.fenced | {fence.device}))
        return Decision(answered=(lease.lease_id,))
    return Decision()


def _remind(lease: Lease | None, node: str, uuid: str, kept: pb.DeviceFence | None) -> Decision:
    """The fence that a node lacks."""
    if lease is None or uuid in lease.fenced:
        return Decision()
    if lease.state is State.LEASED:
        return Decision(orders=(Order(node, fence_of(lease, uuid)),))
    if kept is not None and kept.held and kept.token <= lease.token:
        return Decision(orders=(_end(node, kept),))
    return Decision()


def _end(node: str, fence: pb.DeviceFence) -> Order:
    """Its own token once more, and worth nothing now."""
    ended = pb.DeviceFence()
    ended.CopyFrom(fence)
    ended.held = False
    return Order(node, ended)


def _adopt(book: Book, known: Lease | None, held: Held, fence: pb.DeviceFence, now: float, wall: float) -> Decision:
    """The file of leases was lost, and with it one whose work may go on there: the device is not free before it was
    seen clean."""
    lease = known or Lease(
        lease_id=fence.lease_id or f"lease-{fence.token}", claimant=Claimant("", fence.holder), token=fence.token,
        state=State.RELEASING, ttl_s=0.0, until=inf, made=wall, began=now, devices=(), open=frozenset(), why=LOST,
    )
    devices = tuple(dict.fromkeys((*lease.devices, held)))
    adopted = book.put(replace(lease, devices=devices, open=lease.open | {held.uuid}))
    return Decision(
        changed=(adopted,), allocations=((held.uuid, Allocation.RELEASING),), windows=(Window(held.uuid, False),),
    )
