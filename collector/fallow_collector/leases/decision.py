"""What was decided, for the shell to perform."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from fallow_collector.leases.lease import Lease, Order
from fallow_proto.states import Allocation, EventKind


class Window(NamedTuple):
    """A device whose evidence starts anew. short: confirm_after_release_s is enough."""

    uuid: str
    short: bool


class Note(NamedTuple):
    kind: EventKind
    node: str
    device: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """In the ledger it has happened already. changed: as they are now, to be made durable. forgotten: ids of leases to
    drop from the disk. answered: ids of leases of which a node has confirmed or refused the token. failed: nodes on
    which a lease failed soon after it began, and which.
    """

    changed: tuple[Lease, ...] = ()
    forgotten: tuple[str, ...] = ()
    allocations: tuple[tuple[str, Allocation], ...] = ()
    windows: tuple[Window, ...] = ()
    orders: tuple[Order, ...] = ()
    notes: tuple[Note, ...] = ()
    answered: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()


def joined(decisions: Iterable[Decision]) -> Decision:
    parts = list(decisions)
    return parts[0] if len(parts) == 1 else Decision(
        *(tuple(chain.from_iterable(getattr(part, name) for part in parts)) for name in Decision.__slots__)
    )
