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


def without_work(
    utilization: Floats, compute: Floats, power: Floats, quiet_watts: Floats, busy_from: Number, compute_up_to: Number
) -> Bools:
    """Busy by utilization, which one waiting kernel is enough for, and yet no compute unit works and the power is that
    of a quiet device. busy_from, compute_up_to: ratios."""
    spinning: Bools = (utilization >= busy_from) & (compute <= compute_up_to) & (power <= quiet_watts)
    return spinning
