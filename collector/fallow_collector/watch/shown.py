"""What a watcher is shown of a device, as one row of an array: two of them are compared as six words."""

import numpy as np
from numpy.typing import NDArray

from fallow_collector.idle import phase
from fallow_proto.states import Occupancy

SHOWN = np.dtype([
    ("reasons", "u8"),  # bits of idle.reasons
    ("allocated_at", "f8"),  # beside `allocation`, so that another lease of the same device is another thing
    ("since", "f8"),  # unix seconds of the last change of phase
    ("owner", "i8"),  # number of the node
    ("group", "i4"),  # position in Fleet.groups: site, class, vendor, model
    ("ledger", "i4"),  # position in Fleet.ledgers
    # positions in the tuples of idle.phase, and of OCCUPANCIES
    ("phase", "u1"),
    ("freshness", "u1"),
    ("health", "u1"),
    ("occupancy", "u1"),
    ("allocation", "u1"),
    ("service", "u1"),
    ("low", "?"),  # confidence
    ("alive", "?"),  # False: it was retired, and the rest is what it was then
])
"""No byte of it is padding."""

OCCUPANCIES = tuple(Occupancy)
OF_JUDGED = np.array([OCCUPANCIES.index(word) for word in phase.OCCUPANCIES], dtype=np.uint8)
"""The judgement tells brief work from work; the API does not."""

Records = NDArray[np.void]


def none(count: int) -> Records:
    """Rows of which nothing was shown yet."""
    return np.zeros(count, dtype=SHOWN)


def differing(before: Records, after: Records) -> NDArray[np.intp]:
    """Positions at which any bit differs; both SHOWN[n]."""
    words = SHOWN.itemsize // 8
    changed = before.view(np.uint64).reshape(-1, words) != after.view(np.uint64).reshape(-1, words)
    return np.flatnonzero(changed.any(axis=1))
