"""What a watcher is shown of a device: columns over the whole fleet, and records of the few that changed."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fallow_collector.idle import phase
from fallow_proto.states import Occupancy

SHOWN = np.dtype([
    ("reasons", "u8"),  # bits of idle.reasons
    ("allocated_at", "f8"),  # beside `allocation`, so that another lease of the same device is another thing
    ("since", "f8"),  # unix seconds of the last change of phase
    ("owner", "i4"),  # number of the node
    ("group", "i4"),  # position in Fleet.groups: site, class, vendor, model
    ("ledger", "i2"),  # position in Fleet.ledgers
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

OCCUPANCIES = tuple(Occupancy)
OF_JUDGED = np.array([OCCUPANCIES.index(word) for word in phase.OCCUPANCIES], dtype=np.uint8)
"""The judgement tells brief work from work; the API does not."""

Columns = Mapping[str, NDArray[Any]]
"""SHOWN[n] by name: written and compared a column at a time, it costs a fifth of what an array of records does."""

Records = NDArray[np.void]
"""SHOWN[m]."""


class Shown(Protocol):
    """Columns or records."""

    def __getitem__(self, name: str, /) -> NDArray[Any]: ...


def grown(columns: Columns, count: int) -> Columns:
    """The columns for so many rows, rows that were not there being all zero, and so not alive."""
    more = count - len(columns["alive"])
    if not more:
        return columns
    return {name: np.concatenate([column, np.zeros(more, column.dtype)]) for name, column in columns.items()}


def none() -> Columns:
    return {name: np.zeros(0, SHOWN[name]) for name in SHOWN.names or ()}


def records(columns: Columns, rows: NDArray[np.intp]) -> Records:
    found = np.empty(len(rows), dtype=SHOWN)
    for name, column in columns.items():
        found[name] = column[rows]
    return found


def differing(before: Shown, after: Shown) -> NDArray[np.intp]:
    """Positions at which anything differs."""
    differ = before["alive"] != after["alive"]
    for name in SHOWN.names or ():
        differ |= before[name] != after[name]
    return np.flatnonzero(differ)
