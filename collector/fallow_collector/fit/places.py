"""Where devices stand together: the devices of one node within one domain are a place."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1


class Places(NamedTuple):
    """of: intp[n], the place of each device. domain: int32[places], numbers in order of the domains' names, UNKNOWN
    where the domain is not known. Places are in order of their node's name."""

    of: NDArray[np.intp]
    domain: NDArray[np.int32]


def places(node: NDArray[np.int32], domain: NDArray[np.int32]) -> Places:
    """The places of n devices from the number of their node and of their domain."""
    width = int(domain.max(initial=UNKNOWN)) + 2
    key = node.astype(np.int64) * width + (domain + 1)
    order = np.argsort(key, kind="stable")  # quick, for they are mostly in order
    key = key[order]
    first = np.ones(len(key), dtype=np.bool_)
    np.not_equal(key[1:], key[:-1], out=first[1:])
    of = np.empty(len(key), dtype=np.intp)
    of[order] = np.cumsum(first) - 1
    return Places(of, (key[first] % width - 1).astype(np.int32))


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """The places among which a request may choose, and by how many devices it takes a node (0: any)."""

    places: Places
    per_node: int

    def free(self, eligible: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many eligible devices each place has."""
        return np.bincount(self.places.of[eligible], minlength=len(self.places.domain))

    def usable(self, free: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of a place's free devices the request can use."""
        if not self.per_node:
            return free
        return np.where(free >= self.per_node, self.per_node, 0)

    def room(self, free: NDArray[np.int64]) -> NDArray[np.int64]:
        """The largest count that fits into each domain; a domain that is not known has no room."""
        return self.sum_by_domain(self.usable(free))

    def sum_by_domain(self, of_places: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(self.places.domain + 1, weights=of_places, minlength=1)[1:].astype(np.int64)

    def largest(self, eligible: NDArray[np.bool_]) -> int:
        """The largest count that fits into one domain."""
        return int(self.room(self.free(eligible)).max(initial=0))
