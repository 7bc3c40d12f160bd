"""Which devices of a node a scheduler means: by uuid, PCI address or minor number, never by index.

An index is the place in whatever order a tool lists devices in, and that differs between tools and between reboots.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fallow_collector.fleet.registry import Identity
from fallow_collector.idle import phase
from fallow_collector.ledgers.claim import Claim, Held
from fallow_proto.states import Allocation

FREE, LEASED, UNKNOWN = map(phase.ALLOCATIONS.index, (Allocation.FREE, Allocation.LEASED, Allocation.UNKNOWN))


class Device(NamedTuple):
    """An accelerator of the node. row: the fleet's."""

    row: int
    identity: Identity


class Matched(NamedTuple):
    says: dict[int, int]  # row of each device that the scheduler hands out -> its allocation
    unmatched: list[str]
    claims: Mapping[int, tuple[Held, ...]]  # row of each device that jobs name -> what they say


def match(claim: Claim, devices: Sequence[Device]) -> Matched:
    """A job whose device is not there has one of those that are: then each of them that is not taken is unknown."""
    owned = {device.row for device in devices if _hands_out(claim, device.identity)}
    if claim.held is None:
        return Matched(dict.fromkeys(owned, UNKNOWN), [f"{claim.node} * {claim.problem}"] if claim.problem else [], {})
    known = _keys(devices)
    claims: dict[int, tuple[Held, ...]] = {}
    unmatched = []
    for held in claim.held:
        row = _find(known, held)
        if row is None:
            unmatched.append(f"{claim.node} {held.holder} {held.device}")
        else:
            claims[row] = (*claims.get(row, ()), held)
    leased = claims.keys() | _tied(claims, devices)
    rest = UNKNOWN if unmatched else FREE
    return Matched(dict.fromkeys(owned, rest) | dict.fromkeys(leased, LEASED), unmatched, claims)


def _hands_out(claim: Claim, identity: Identity) -> bool:
    if claim.uuids is not None:
        return identity.uuid in claim.uuids or identity.parent in claim.uuids
    # One whose minor number nobody knows may be any of those that the scheduler names.
    return claim.minors is None or identity.minor is None or identity.minor in claim.minors


def _keys(devices: Sequence[Device]) -> Mapping[object, int]:
    """Every key that names just one device: partitions are named by uuid, for they share the rest with their parent."""
    known: dict[object, int] = {}
    twice: set[object] = set()
    for row, identity in devices:
        keys: list[object] = [identity.uuid]
        if not identity.parent:
            keys += [key for key in (pci(identity.pci_bus_id), identity.minor) if key not in ("", None)]
        twice.update(key for key in keys if key in known)
        known.update(dict.fromkeys(keys, row))
    return {key: row for key, row in known.items() if key not in twice}


def _find(known: Mapping[object, int], held: Held) -> int | None:
    """The device that all given keys name."""
    keys = [key for key in (held.uuid, pci(held.pci_bus_id), held.minor) if key not in ("", None)]
    rows = {known.get(key) for key in keys}
    return rows.pop() if len(rows) == 1 else None


def _tied(leased: Iterable[int], devices: Sequence[Device]) -> set[int]:
    """Who holds a device holds its partitions, and who holds a partition keeps others from the whole device."""
    row_of = {identity.uuid: row for row, identity in devices}
    taken = set(leased)
    tied = set()
    for row, identity in devices:
        parent = row_of.get(identity.parent)
        if parent is not None and row in taken:
            tied.add(parent)
        if parent in taken:
            tied.add(row)
    return tied


def pci(address: str) -> str:
    """Of 00000000:17:00.0, 0000:17:00.0, 17:00.0 and any case one spelling: the domain in four digits, lower case."""
    if not address:
        return ""
    parts = address.lower().split(":")
    domain = parts[0] if len(parts) == 3 else ""
    return ":".join([domain.lstrip("0").rjust(4, "0"), *parts[-2:]])
