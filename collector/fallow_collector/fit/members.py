"""Who the devices of a fleet are and where they stand, in an order that does not depend on when they came."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import is_not
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit.places import UNKNOWN, Places, places
from fallow_collector.fit.ranks import Ranks
from fallow_collector.fleet.registry import Identity
from fallow_collector.fleet.roster import GroupKey, Roster

Numbers = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Devices in use, ordered by node name and uuid.

    rows: intp[n], of the fleet. node: int32[n], position in `nodes`, which is sorted. group: int32[n], position in
    `groups`. domains: by the words of Request.same, int32[n], numbers in order of the domains' names.
    """

    rows: NDArray[np.intp]
    node: Numbers
    nodes: tuple[str, ...]
    group: Numbers
    groups: tuple[GroupKey, ...]
    domains: dict[str, Numbers]
    _places: dict[str, Places] = field(default_factory=dict)

    def places(self, same: str) -> Places:
        found = self._places.get(same)
        if found is None:
            found = self._places[same] = places(self.node, self.domains[same])
        return found


class Numbered(NamedTuple):
    """Words in their order, and the position of each given one; the empty word is UNKNOWN."""

    words: tuple[str, ...]
    positions: Numbers


def number(words: Sequence[str]) -> Numbered:
    known = sorted(set(words) - {""})
    position = {"": UNKNOWN} | {word: i for i, word in enumerate(known)}
    return Numbered(tuple(known), np.array([position[word] for word in words], dtype=np.int32))


def _within(outer: Numbers, inner: Numbers) -> Numbers:
    """Racks of two sites, and models of two vendors, may share a name; what has no name is not known."""
    width = int(inner.max(initial=UNKNOWN)) + 1
    return np.where(inner == UNKNOWN, UNKNOWN, (outer + 1) * width + inner).astype(np.int32)


class Directory:
    """Keeps Members until a device comes, goes, moves or is another, or a node is in another rack.

    Then only what is new is looked at: while 10,000 nodes say Hello one after the other, answers do not wait for it.
    """

    def __init__(self, fleet: Roster) -> None:
        self._fleet = fleet
        self._revision = (-1, -1)
        self._members: Members | None = None
        self._nodes, self._racks, self._uuids, self._links = Ranks(), Ranks(), Ranks(), Ranks()
        self._identities: list[Identity] = []  # of which uuid and link are known
        self._uuid = np.zeros(0, dtype=np.int32)
        self._link = np.zeros(0, dtype=np.int32)

    def members(self) -> Members:
        revision = (self._fleet.who_revision, len(self._fleet.nodes))
        if self._members is None or self._revision != revision:
            self._members, self._revision = self._made(), revision
        return self._members

    def _made(self) -> Members:
        fleet = self._fleet
        self._hear()
        alive = np.flatnonzero(fleet.alive[: fleet.count])
        of_nodes = self._nodes.of(self._nodes.numbers(node.name for node in fleet.nodes))
        uuid = self._uuids.of(self._uuid[alive])
        width = int(uuid.max(initial=0)) + 1
        rows = alive[np.argsort(of_nodes[fleet.owner[alive]].astype(np.int64) * width + uuid)]
        owner, group = fleet.owner[rows], fleet.group[rows]
        site = number([key.site for key in fleet.groups]).positions[group]
        vendor = number([key.vendor for key in fleet.groups]).positions[group]
        rack = self._racks.of(self._racks.numbers(node.rack for node in fleet.nodes))
        node = of_nodes[owner]
        return Members(rows, node, self._nodes.words, group, tuple(fleet.groups), {
            "": np.zeros(len(rows), dtype=np.int32),
            "node": node,
            "link": self._links.of(self._link[rows]),
            "rack": _within(site, rack[owner]),
            "site": site,
            "model": _within(vendor, number([key.model for key in fleet.groups]).positions[group]),
        })

    def _hear(self) -> None:
        """Take over what identities say that are new; those of most devices are the very objects of last time."""
        known, identities = len(self._identities), self._fleet.identities.copy()
        new = [*compress(range(known), map(is_not, self._identities, identities)), *range(known, len(identities))]
        more = np.full(len(identities) - known, UNKNOWN, dtype=np.int32)
        self._uuid, self._link = np.append(self._uuid, more), np.append(self._link, more)
        self._uuid[new] = self._uuids.numbers(identities[row].uuid for row in new)
        self._link[new] = self._links.numbers(identities[row].link_domain for row in new)
        self._identities = identities
