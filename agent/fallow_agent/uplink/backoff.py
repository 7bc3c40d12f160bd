"""When to dial again: exponential, with full jitter, so that a fleet that lost its collector does not return at once.

Precedent: AWS architecture blog "Exponential Backoff And Jitter"; gRPC's own (1 s, × 1.6, ± 20 %, at most 120 s) keeps
agents in step and stays away for too long.
"""

from random import Random

FIRST_S = 1.0
LONGEST_S = 15.0
PROVEN_S = 30.0
"""A stream that lasted so long was no failure: the next one is tried as after the first."""


class Backoff:
    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0

    def proven(self) -> None:
        """The stream that was just lost had been a good one."""
        self._failures = 0

    def delay_s(self, *, rejected: bool) -> float:
        """How long to wait now, seconds. rejected: by a collector that would say the same again."""
        if rejected:
            return self._random.uniform(LONGEST_S / 2, LONGEST_S)
        longest = min(LONGEST_S, FIRST_S * 2.0**self._failures)
        self._failures = min(self._failures + 1, 10)
        return self._random.uniform(0.0, longest)
