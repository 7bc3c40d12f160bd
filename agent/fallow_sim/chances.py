"""Random numbers without a generator's state: the same question always gets the same answer.

So a simulated value is a function of device and time, and what was said two minutes ago is computed again instead of
kept: 10,000 nodes would need a gigabyte for their rings of evidence.
"""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.uint64]

# Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014: the finalizer of SplitMix64.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def stream(seed: int, name: str) -> np.uint64:
    """What keeps the draws of one purpose apart from those of all others."""
    return np.uint64(int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "little"))


def draws(source: np.uint64, who: NDArray[np.int64], when: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """Four numbers in [0, 1) for each (who, when), float64[n, 4], in steps of 2**-16."""
    mixed = _mix(who.astype(np.uint64) + source)
    mixed = _mix(mixed + np.asarray(when, dtype=np.int64).astype(np.uint64) * _GOLDEN)
    return mixed.view(np.uint16).reshape(-1, 4) / 65536.0


def _mix(number: Integers) -> Integers:
    number = (number ^ (number >> np.uint64(30))) * _FIRST
    number = (number ^ (number >> np.uint64(27))) * _SECOND
    return number ^ (number >> np.uint64(31))
