"""Devices whose power was read once and cannot be read any more, though they answer: DCGM's watch warns of it."""

import numpy as np
from numpy.typing import NDArray


class Power:
    def __init__(self) -> None:
        self._read = np.zeros(0, dtype=np.bool_)  # since the start

    def unreadable(self, watts: NDArray[np.float64], celsius: NDArray[np.float64]) -> NDArray[np.float64]:
        """1 or 0 a device, NaN where it cannot be told: it was never read, or the device says nothing else either."""
        more = len(watts) - len(self._read)
        if more > 0:
            self._read = np.concatenate([self._read, np.zeros(more, dtype=np.bool_)])
        known = np.isfinite(watts)
        self._read[: len(watts)] |= known
        told = self._read[: len(watts)] & (known | np.isfinite(celsius))
        return np.where(told, ~known, np.nan)
