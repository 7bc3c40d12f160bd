"""Devices that are paid for and do nothing, beside those that are idle: never added to them.

Unknown counts for nothing: whatever a rule asks for and is not known, the device is not waste by that rule.
"""

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Number = float | Floats


def reclaimable(still_s: Floats, held_s: Floats, idle_s: Number, grace_s: Number) -> Bools:
    """Of leased devices, whether neither they nor their holders did anything for idle_s after the grace.

    still_s: of the unbroken rest up to the newest reading; held_s: from when it was leased to that reading, NaN not
    known.
    """
    resting: Bools = np.minimum(still_s, held_s - grace_s) >= idle_s
    return resting


def spinning(utilization: Floats, compute: Floats, busy_from: Number, compute_up_to: Number) -> Bools:
    """Busy by utilization, which one waiting kernel is enough for, and yet no compute unit works; with the power of a
    quiet device it is without work. busy_from, compute_up_to: ratios."""
    found: Bools = (utilization >= busy_from) & (compute <= compute_up_to)
    return found
