"""What one scheduler says of one node: which devices it hands out, and which of them it has."""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from fallow_collector.state import OwnedRow
from fallow_proto import dispatch
from fallow_proto.v1 import telemetry_pb2 as pb

NEVER = float("-inf")


class Held(NamedTuple):
    """A device that the scheduler has allocated, by every key that it is known by; empty or None: not given.

    job, uid: whose processes belong on it.
    """

    holder: str
    uuid: str = ""
    pci_bus_id: str = ""
    minor: int | None = None
    job: str = ""
    uid: int | None = None

    @property
    def device(self) -> str:
        """For people."""
        given = (self.uuid, self.pci_bus_id, "" if self.minor is None else f"minor {self.minor}")
        return " = ".join(key for key in given if key)


@dataclass(frozen=True, slots=True)
class Claim:
    """since: unix seconds, when the scheduler first claimed the node. read_at: the collector's monotonic clock, when
    the scheduler's state was read, NEVER: not since the collector started. minors, uuids: the devices that it hands
    out, both None: all accelerators. held None: what is allocated is not known; `problem` says why, unless it is only
    that the scheduler has not spoken yet.
    """

    node: str
    since: float
    read_at: float
    minors: frozenset[int] | None = None
    uuids: frozenset[str] | None = None
    held: tuple[Held, ...] | None = None
    problem: str = ""

    def says_like(self, other: "Claim") -> bool:
        """Whether both say the same, whenever they were read."""
        return self.owns_like(other) and (self.held, self.problem) == (other.held, other.problem)

    def owns_like(self, other: "Claim") -> bool:
        return (self.minors, self.uuids) == (other.minors, other.uuids)


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """OwnedRow.devices."""

    since: float
    minors: list[int] | None = None
    uuids: list[str] | None = None


def of_import(taken: dispatch.LedgerImport, wall: float, read_at: float) -> dict[str, Claim]:
    """By node."""
    held: dict[str, list[Held]] = {owned.node: [] for owned in taken.nodes}
    for job in taken.jobs:
        held[job.node].append(Held(job.holder, job.uuid, job.pci_bus_id, job.minor, job.job, job.uid))
    return {
        owned.node: Claim(
            owned.node, wall, read_at, None if owned.minors is None else frozenset(owned.minors),
            held=None if owned.problem else tuple(held[owned.node]), problem=owned.problem,
        )
        for owned in taken.nodes
    }


def of_node(node: str, ledger: pb.Ledger, before: Claim | None, wall: float, read_at: float) -> Claim:
    """What the scheduler's own daemon on the node says; one that could not be read keeps what it owned `before`, and of
    one that was never read nobody knows what is not its own."""
    if not ledger.problem:
        held = tuple(Held(allocation.holder, uuid=allocation.device) for allocation in ledger.allocations)
        return Claim(node, wall, read_at, uuids=frozenset(ledger.owned), held=held)
    if ledger.owned or before is None:
        return Claim(node, wall, read_at, uuids=frozenset(ledger.owned) or None, problem=ledger.problem)
    return Claim(node, wall, read_at, before.minors, before.uuids, problem=ledger.problem)


def row_of(ledger: str, claim: Claim) -> OwnedRow:
    kept = Kept(
        claim.since, None if claim.minors is None else sorted(claim.minors),
        None if claim.uuids is None else sorted(claim.uuids),
    )
    return OwnedRow(ledger, claim.node, msgspec.json.encode(kept).decode())


def claim_of(row: OwnedRow) -> Claim:
    kept = msgspec.json.decode(row.devices, type=Kept)
    return Claim(
        row.node, kept.since, NEVER, None if kept.minors is None else frozenset(kept.minors),
        None if kept.uuids is None else frozenset(kept.uuids),
    )
