"""What changed, revision by revision, for as long as there is room: whoever is inside needs no memory of its own."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.watch.shown import Records, differing

ROOM = 250_000
"""Changes that are kept, of some 110 bytes each: three of every device of the largest fleet, hours of a calm one."""


class Delta(NamedTuple):
    """What differs between two revisions.

    rows: intp[m], ascending, each once; before, after: SHOWN[m]. leases: by row, of those that are not free at the
    newer one. as_of: unix seconds of that revision.
    """

    revision: int
    as_of: float
    rows: NDArray[np.intp]
    before: Records
    after: Records
    leases: Mapping[int, str | None]


class Log:
    """The deltas from `oldest` to `newest`, one a revision."""

    def __init__(self, revision: int, room: int = ROOM) -> None:
        self.oldest = self.newest = revision
        self._room = room
        self._deltas: deque[Delta] = deque()
        self._changes = 0

    def append(self, delta: Delta) -> None:
        """The next revision; old ones go when there is no room, and even this one if it is larger than all of it."""
        self._deltas.append(delta)
        self._changes += len(delta.rows)
        self.newest = delta.revision
        while self._changes > self._room:
            forgotten = self._deltas.popleft()
            self._changes -= len(forgotten.rows)
            self.oldest = forgotten.revision

    def covers(self, revision: int) -> bool:
        """Whether all that happened after it is known."""
        return self.oldest <= revision <= self.newest

    def since(self, revision: int) -> Delta | None:
        """All that happened after a revision that it covers, as one delta; None: nothing."""
        later: list[Delta] = []
        for delta in reversed(self._deltas):
            if delta.revision <= revision:
                break
            later.append(delta)
        return joined(later[::-1]) if later else None


def joined(deltas: Sequence[Delta]) -> Delta:
    """One delta of several in their order: of each device the first that was and the last that is."""
    newest = deltas[-1]
    if len(deltas) == 1:
        return newest
    rows = np.concatenate([delta.rows for delta in deltas])
    before = np.concatenate([delta.before for delta in deltas])
    after = np.concatenate([delta.after for delta in deltas])
    unique, first = np.unique(rows, return_index=True)
    last = len(rows) - 1 - np.unique(rows[::-1], return_index=True)[1]
    before, after = before[first], after[last]
    still = differing(before, after)  # what came back to what it was has not changed
    leases: dict[int, str | None] = {}
    for delta in deltas:
        leases.update(delta.leases)
    return Delta(newest.revision, newest.as_of, unique[still], before[still], after[still], leases)
