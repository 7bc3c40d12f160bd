"""A lease as the ledger keeps it."""

from dataclasses import dataclass
from typing import NamedTuple

from fallow_collector.leases.table import State
from fallow_proto.states import Allocation
from fallow_proto.v1 import telemetry_pb2 as pb

ALLOCATION = {
    State.RESERVED: Allocation.RESERVED,
    State.LEASED: Allocation.LEASED,
    State.RELEASING: Allocation.RELEASING,
    State.ENDED: Allocation.FREE,
}


class Held(NamedTuple):
    uuid: str
    node: str


class Claimant(NamedTuple):
    """Who asks. caller: the name of the token that the call came with, empty without tokens."""

    caller: str
    holder: str  # as the caller says

    @property
    def name(self) -> str:
        """As it is shown: the caller goes in front, so that nobody can take another's name."""
        return "/".join(part for part in self if part)


@dataclass(frozen=True, slots=True)
class Lease:
    """until: when time alone moves it on: its expiry, or, once it has ended, when it is forgotten; inf: never. began:
    when it was committed, −inf: not yet. Both in seconds of the ledger's monotonic clock. made: unix seconds.

    open: uuids that have not ended. fenced: uuids whose nodes have confirmed the token as it is now. short: its holder
    has released it, so the shorter window counts. why: what ended it, in words; empty: nothing has. digest: of the
    request that made it.
    """

    lease_id: str
    claimant: Claimant
    token: int
    state: State
    ttl_s: float
    until: float
    made: float
    began: float
    devices: tuple[Held, ...]
    open: frozenset[str]
    fenced: frozenset[str] = frozenset()
    short: bool = False
    why: str = ""
    key: str = ""
    digest: str = ""

    @property
    def was_committed(self) -> bool:
        return self.began != float("-inf")

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(held.node for held in self.devices))

    @property
    def is_fenced(self) -> bool:
        """Whether every node has confirmed the token."""
        return self.was_committed and self.open <= self.fenced


class Order(NamedTuple):
    """A fence on its way to a node."""

    node: str
    fence: pb.DeviceFence


def orders(lease: Lease) -> tuple[Order, ...]:
    """What the nodes of a lease that was committed have to know of it."""
    return tuple(
        Order(held.node, fence_of(lease, held.uuid)) for held in lease.devices if held.uuid in lease.open
    )


def fence_of(lease: Lease, uuid: str) -> pb.DeviceFence:
    return pb.DeviceFence(
        device=uuid, token=lease.token, held=lease.state is State.LEASED, lease_id=lease.lease_id,
        holder=lease.claimant.name,
    )
