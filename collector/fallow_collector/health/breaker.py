"""The circuit breaker: a rule that fails much of the fleet at once is more likely wrong than the fleet is broken."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from fallow_collector.health.rules import Breaker


def doubted(breaker: Breaker, since_ms: NDArray[np.int64], fleet: int) -> NDArray[np.bool_]:
    """Which of the devices that rules call failed, each since when, must not be called so.

    It depends on the moments alone, so that neither time nor a restart lets through what was held once. fleet: devices.
    """
    most = max(breaker.devices, int(breaker.ratio * fleet))
    held = np.zeros(len(since_ms), dtype=np.bool_)
    if len(since_ms) <= most:
        return held
    admitted: deque[int] = deque()
    within_ms = breaker.within_s * 1000
    for position in np.argsort(since_ms, kind="stable").tolist():
        at = int(since_ms[position])
        while admitted and admitted[0] <= at - within_ms:
            admitted.popleft()
        if len(admitted) < most:
            admitted.append(at)
        else:
            held[position] = True
    return held
