"""The newest changes of phase of the whole fleet, in memory: a restart begins anew, and its answers say so."""

import numpy as np

from fallow_collector.idle.phase import PHASES
from fallow_collector.view import Snapshot, View
from fallow_proto.states import Phase

CAPACITY = 1_000_000
"""Changes that are remembered, 13 MB: of 80,000 devices, a dozen each."""

CHANGE = np.dtype([("at", "f8"), ("row", "i4"), ("phase", "u1")])


class PhaseLog:
    """Not thread-safe. `since`: it knows every change from then on, unix seconds."""

    def __init__(self, began: float, capacity: int = CAPACITY) -> None:
        self.since = began
        self._ring = np.zeros(capacity, dtype=CHANGE)
        self._written = 0

    def follow(self, snapshot: Snapshot) -> None:
        """Take what changed with a snapshot."""
        rows = snapshot.changed
        now = snapshot.shown["phase"][rows]
        changed = (snapshot.before["phase"] != now) | ~snapshot.before["alive"]
        rows, now = rows[changed], now[changed]
        at = (self._written + np.arange(len(rows))) % len(self._ring)
        if self._written + len(rows) > len(self._ring) and len(rows):
            self.since = max(self.since, float(self._ring["at"][at[-1]]))
        self._ring["at"][at] = snapshot.as_of
        self._ring["row"][at] = rows
        self._ring["phase"][at] = now
        self._written += len(rows)

    def of(self, row: int, start: float, end: float) -> list[tuple[float, Phase]]:
        """When a device came into which phase, from start to before end, newest first."""
        known = self._ring[: min(self._written, len(self._ring))]
        mine = known[(known["row"] == row) & (known["at"] >= start) & (known["at"] < end)]
        mine = mine[np.argsort(-mine["at"], kind="stable")]
        return [(float(change["at"]), PHASES[change["phase"]]) for change in mine]


def following(view: View) -> PhaseLog:
    """A log of what the view shows from its next snapshot on."""
    made = PhaseLog(view.now().as_of)
    view.follow(made.follow)
    return made
