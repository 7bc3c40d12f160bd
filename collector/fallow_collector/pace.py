"""How often one address, or one certificate, may knock: a token bucket each."""

BURST = 5.0
PER_S = 1.0
KNOCKERS = 10_000  # remembered; when there are more, those whose buckets are full again are forgotten


class Pace:
    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}  # what was left, and when (monotonic seconds)

    def admits(self, who: str, now: float) -> bool:
        """Whether this one is not too many; it is counted if not."""
        if who not in self._buckets and len(self._buckets) >= KNOCKERS:
            self._forget(now)
            if len(self._buckets) >= KNOCKERS:
                return False
        left, at = self._buckets.get(who, (BURST, now))
        left = min(BURST, left + (now - at) * PER_S)
        self._buckets[who] = (left - 1.0 if left >= 1.0 else left, now)
        return left >= 1.0

    def _forget(self, now: float) -> None:
        self._buckets = {
            who: (left, at) for who, (left, at) in self._buckets.items() if left + (now - at) * PER_S < BURST
        }
