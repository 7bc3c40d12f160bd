"""The most of something within the last minutes. Pure: the time is an argument."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

WINDOW_S = 300.0


class Recent:
    """Counts of so many groups at the moments at which they were taken; groups are only added."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._began: float | None = None
        self._taken: deque[tuple[float, NDArray[np.int64]]] = deque()

    def take(self, counts: NDArray[np.int64], now: float) -> None:
        """now: monotonic seconds."""
        if self._began is None:
            self._began = now
        self._taken.append((now, counts))
        while self._taken[0][0] < now - self._window_s:
            self._taken.popleft()

    def highest(self, groups: int, now: float) -> NDArray[np.float64]:
        """float64[groups]: of each group the most within the window; NaN before a whole window was seen."""
        if self._began is None or now - self._began < self._window_s:
            return np.full(groups, np.nan)
        most = np.zeros(groups)
        for _, counts in self._taken:
            most[: len(counts)] = np.maximum(most[: len(counts)], counts)
        return most
