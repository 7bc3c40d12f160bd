"""How many devices of each group are in which state: counts over arrays, whose identities hold by construction.

Every device that counts falls into exactly one of CATEGORIES, so
seen = idle + idle_low_confidence + verifying + reserved + leased + releasing + unmanaged + unavailable, and
declared + undeclared = seen + absent.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fallow_collector.idle.assess import Assessment
from fallow_collector.idle.phase import PHASES
from fallow_collector.idle.reasons import REASONS, primary
from fallow_proto.states import Phase

CATEGORIES = (
    "idle", "idle_low_confidence", "verifying", "reserved", "leased", "releasing", "unmanaged", "unavailable", "absent",
)
SIZES = (1, 2, 4, 8)
"""Gang sizes on one node for which slots are counted."""

SPREAD = 32

_CATEGORY_OF = {
    Phase.IDLE: "idle",
    Phase.VERIFYING: "verifying",
    Phase.RESERVED: "reserved",
    Phase.LEASED: "leased",
    Phase.RELEASING: "releasing",
    Phase.UNMANAGED: "unmanaged",
    Phase.ABSENT: "absent",
}
_IDLE, _LOW, _UNAVAILABLE = map(CATEGORIES.index, ("idle", "idle_low_confidence", "unavailable"))
_HIGH = [CATEGORIES.index(_CATEGORY_OF.get(phase, "unavailable")) for phase in PHASES]
_CATEGORY = np.array([*_HIGH, *(_LOW if category == _IDLE else category for category in _HIGH)], dtype=np.uint8)
"""Of the phases with high confidence, then with low."""


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Per group, in the order of the group numbers. by_category int64[groups, CATEGORIES]; declared int64[groups];
    reasons int64[groups, REASONS + 1], first reasons of the unavailable ones (the last: none); slots
    int64[groups, SIZES], gangs of each size that fit on single nodes."""

    by_category: NDArray[np.int64]
    declared: NDArray[np.int64]
    reasons: NDArray[np.int64]
    slots: NDArray[np.int64]


def categories(assessment: Assessment) -> NDArray[np.uint8]:
    return _CATEGORY.take(assessment.phase + np.uint8(len(PHASES)) * assessment.low)


def count(
    found: NDArray[np.uint8], reasons: NDArray[np.uint64], group: NDArray[np.int32], node: NDArray[np.int32],
    declared: NDArray[np.bool_], groups: int,
) -> Counts:
    """Counts of n devices. found: their categories; group and node are small non-negative numbers."""
    width, kinds = len(REASONS) + 1, len(CATEGORIES)
    unavailable = found == _UNAVAILABLE
    idle = np.flatnonzero(found == _IDLE)
    first = primary(reasons[unavailable])
    return Counts(
        by_category=np.bincount(group * kinds + found, minlength=groups * kinds).reshape(groups, kinds),
        declared=np.bincount(group[declared], minlength=groups),
        reasons=np.bincount(group[unavailable] * width + first, minlength=groups * width).reshape(groups, width),
        slots=_slots(group[idle], node[idle], groups),
    )


def largest_blocks(group: NDArray[np.int32], domain: NDArray[np.int32], groups: int) -> NDArray[np.int64]:
    """int64[groups], the most of n devices of each group that share one domain; negative domains are not known."""
    known = domain >= 0
    width = int(domain.max(initial=0)) + 1
    largest = np.zeros(groups, dtype=np.int64)
    places, devices = _tally(group[known].astype(np.int64) * width + domain[known])
    np.maximum.at(largest, places // width, devices)
    return largest


def fragmentation(slots: NDArray[np.int64], idle: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[groups, SIZES], the share of the idle devices that no gang of that size on one node can use; 0 without
    idle devices (ome-projects/ome#768)."""
    used = slots * np.array(SIZES)
    return np.where(idle[:, None] > 0, 1 - used / np.maximum(idle, 1)[:, None], 0.0)


def _slots(group: NDArray[np.int32], node: NDArray[np.int32], groups: int) -> NDArray[np.int64]:
    """Sum over nodes of how often a gang fits into what is idle there."""
    slots = np.zeros((groups, len(SIZES)), dtype=np.int64)
    nodes = int(node.max(initial=0)) + 1
    places, idle = _tally(group.astype(np.int64) * nodes + node)
    for column, size in enumerate(SIZES):
        np.add.at(slots[:, column], places // nodes, idle // size)
    return slots


def _tally(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The different ones of n small non-negative numbers, and how often each is there.

    Counting is several times faster than sorting, as long as there are not far more numbers than could be there.
    """
    if int(keys.max(initial=0)) > SPREAD * len(keys):
        return np.unique(keys, return_counts=True)
    often = np.bincount(keys)
    found = np.flatnonzero(often)
    return found, often[found]
