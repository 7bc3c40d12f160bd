"""Since when each device has been in its phase, on the collector's monotonic clock: a step of the wall clock makes no
phase older."""

import numpy as np
from numpy.typing import NDArray

from fallow_collector.view import Snapshot


class PhaseClock:
    """Follows the view; a restart begins anew, as phases do. Not thread-safe."""

    def __init__(self) -> None:
        self._since = np.zeros(0)

    def follow(self, snapshot: Snapshot) -> None:
        self._grow(snapshot)
        rows = snapshot.changed
        changed = (snapshot.before["phase"] != snapshot.shown["phase"][rows]) | ~snapshot.before["alive"]
        self._since[rows[changed]] = snapshot.now

    def seconds(self, snapshot: Snapshot, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """For how long each of the rows has been in its phase. snapshot: the newest."""
        self._grow(snapshot)
        return snapshot.now - self._since[rows]

    def _grow(self, snapshot: Snapshot) -> None:
        more = len(snapshot.age_s) - len(self._since)
        if more > 0:
            self._since = np.concatenate([self._since, np.full(more, snapshot.now)])
