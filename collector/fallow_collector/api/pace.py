"""How often one address may knock: a token bucket each."""

BURST = 5.0
PER_S = 1.0
ADDRESSES = 10_000  # remembered; when there are more, those whose buckets are full again are forgotten


class Pace:
    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}  # what was left, and when (monotonic seconds)

    def admits(self, address: str, now: float) -> bool:
        """Whether this one is not too many; it is counted if not."""
        if address not in self._buckets and len(self._buckets) >= ADDRESSES:
            self._forget(now)
            if len(self._buckets) >= ADDRESSES:
                return False
        left, at = self._buckets.get(address, (BURST, now))
        left = min(BURST, left + (now - at) * PER_S)
        self._buckets[address] = (left - 1.0 if left >= 1.0 else left, now)
        return left >= 1.0

    def _forget(self, now: float) -> None:
        self._buckets = {
            address: (left, at) for address, (left, at) in self._buckets.items() if left + (now - at) * PER_S < BURST
        }
