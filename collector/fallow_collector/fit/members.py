"""Who the devices of a fleet are and where they stand, in an order that does not depend on when they came."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit.places import UNKNOWN, Places, places
from fallow_collector.fleet.registry import Identity
from fallow_collector.fleet.roster import GroupKey, Roster


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Devices in use, ordered by node name and uuid.

    rows: intp[n], of the fleet. node: int32[n], position in `nodes`, which is sorted. group: int32[n], position in
    `groups`. places: by the words of Request.same.
    """

    rows: NDArray[np.intp]
    node: NDArray[np.int32]
    nodes: tuple[str, ...]
    group: NDArray[np.int32]
    groups: tuple[GroupKey, ...]
    places: dict[str, Places]


class Numbered(NamedTuple):
    """Words in their order, and the position of each given one; the empty word is UNKNOWN."""

    words: tuple[str, ...]
    positions: NDArray[np.int32]


def number(words: Sequence[str]) -> Numbered:
    known = sorted(set(words) - {""})
    position = {"": UNKNOWN} | {word: i for i, word in enumerate(known)}
    return Numbered(tuple(known), np.array([position[word] for word in words], dtype=np.int32))


def members(fleet: Roster) -> Members:
    alive = np.flatnonzero(fleet.alive[: fleet.count])
    identities = [fleet.identities[row] for row in alive.tolist()]
    nodes, rank = number([node.name for node in fleet.nodes])
    order = np.lexsort((_ranks([identity.uuid for identity in identities]), rank[fleet.owner[alive]]))
    rows = alive[order]
    owner, group = fleet.owner[rows], fleet.group[rows]
    node, nowhere = rank[owner], np.zeros(len(rows), dtype=np.int32)
    site = number([key.site for key in fleet.groups]).positions[group]
    vendor = number([key.vendor for key in fleet.groups]).positions[group]
    domains = {
        "": nowhere,
        "node": node,
        "link": number([identities[i].link_domain for i in order.tolist()]).positions,
        "rack": _within(site, number([node.rack for node in fleet.nodes]).positions[owner]),
        "site": site,
        "model": _within(vendor, number([key.model for key in fleet.groups]).positions[group]),
    }
    return Members(
        rows, node, nodes, group, tuple(fleet.groups),
        {same: places(node, domain) for same, domain in domains.items()},
    )


def _ranks(uuids: list[str]) -> NDArray[np.intp]:
    ranks = np.empty(len(uuids), dtype=np.intp)
    ranks[sorted(range(len(uuids)), key=uuids.__getitem__)] = np.arange(len(uuids))
    return ranks


def _within(outer: NDArray[np.int32], inner: NDArray[np.int32]) -> NDArray[np.int32]:
    """Racks of two sites, and models of two vendors, may share a name; what has no name is not known."""
    width = int(inner.max(initial=UNKNOWN)) + 1
    return np.where(inner == UNKNOWN, UNKNOWN, (outer + 1) * width + inner).astype(np.int32)


class Directory:
    """Keeps Members until a device comes, goes, moves or changes, or a node changes its rack."""

    def __init__(self, fleet: Roster) -> None:
        self._fleet = fleet
        self._identities: list[Identity] = []
        self._racks: list[str] = []
        self._arrays: tuple[NDArray[np.generic], ...] = ()
        self._members: Members | None = None

    def members(self) -> Members:
        fleet, count = self._fleet, self._fleet.count
        racks = [node.rack for node in fleet.nodes]
        arrays = (fleet.alive[:count], fleet.owner[:count], fleet.group[:count])
        if self._members is None or racks != self._racks or not self._same(arrays):
            self._members = members(fleet)
            self._racks, self._arrays = racks, tuple(array.copy() for array in arrays)
        # A Hello brings new objects for the same devices: kept, they make the next comparison one of pointers.
        self._identities = fleet.identities.copy()
        return self._members

    def _same(self, arrays: tuple[NDArray[np.generic], ...]) -> bool:
        return all(map(np.array_equal, self._arrays, arrays)) and self._identities == self._fleet.identities
