"""When a driver stops asking for a recovery action: its own word that the reset or the reboot was done.

A device that was reset by itself leaves no other trace that every driver gives. The moment is somewhere after the last
reading that still asked, so only what was told by then is over.
"""

import numpy as np
from numpy.typing import NDArray


class Recovery:
    def __init__(self) -> None:
        self._asked_ms = np.zeros(0, dtype=np.int64)  # the last reading that asked; 0: it does not ask

    def resume(self, row: int, asked_ms: int) -> None:
        """Before a restart the driver asked, at that time (unix milliseconds)."""
        self._grow(row + 1)
        self._asked_ms[row] = max(int(self._asked_ms[row]), asked_ms)

    def step(self, action: NDArray[np.float64], time_ms: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Rows that do not ask any more, and when each was last seen asking.

        action: float64[n], as the metric recovery_action, NaN where not known; time_ms: int64[n], of the readings.
        """
        self._grow(len(action))
        asked_ms = self._asked_ms[: len(action)]
        over = np.flatnonzero((action == 0) & (asked_ms > 0))
        found = list(zip(over.tolist(), asked_ms[over].tolist(), strict=True))
        asked_ms[over] = 0
        asks = action >= 1
        asked_ms[asks] = time_ms[asks]
        return found

    def _grow(self, count: int) -> None:
        if len(self._asked_ms) < count:
            self._asked_ms = np.concatenate([self._asked_ms, np.zeros(count - len(self._asked_ms), dtype=np.int64)])
