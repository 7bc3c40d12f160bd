"""What a run has done so far, counted."""

from collections import Counter
from dataclasses import dataclass, field


class Latencies:
    """Durations by two significant digits of milliseconds: enough for a p99, and small however many there are."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()
        self.count = 0

    def add(self, seconds: float) -> None:
        self._counts[float(f"{seconds * 1000:.1e}")] += 1
        self.count += 1

    def quantile_s(self, share: float) -> float | None:
        """Seconds that this share of the durations does not exceed; None while there is none."""
        below = 0
        for milliseconds, count in sorted(self._counts.items()):
            below += count
            if below >= share * self.count:
                return milliseconds / 1000
        return None


@dataclass(slots=True)
class Progress:
    sent: int = 0  # reports, each time they were sent
    acked: int = 0
    refused: int = 0
    due: int = 0  # reports that there are
    connected: int = 0
    welcomed: bool = False  # at least once
    reconnects: int = 0
    refusal: str = ""  # the latest reason of the collector
    failure: str = ""  # the latest reason why a stream ended
    lag_s: float = 0.0  # how late the last tick was
    latencies: Latencies = field(default_factory=Latencies)  # from a report's moment to its acknowledgement
    recent: Latencies = field(default_factory=Latencies)  # the same, since the last line

    def acknowledged(self, seconds: float) -> None:
        self.acked += 1
        self.latencies.add(seconds)
        self.recent.add(seconds)

    def line(self) -> str:
        """What happened, for people, once a second."""
        latest = self.recent.quantile_s(0.99)
        self.recent = Latencies()
        parts = [
            f"connected={self.connected}", f"sent={self.sent}", f"acked={self.acked}",
            f"pending={self.due - self.acked - self.refused}", f"refused={self.refused}",
            f"lag_s={self.lag_s:.3f}", f"ack_p99_s={latest if latest is not None else '-'}",
        ]
        if self.reconnects:
            parts.append(f"reconnects={self.reconnects}")
        if self.connected == 0 and self.failure:
            parts.append(f'failure="{self.failure}"')
        if self.refusal:
            parts.append(f'refusal="{self.refusal}"')
        return " ".join(parts)

    def summary(self) -> dict[str, float | int | None]:
        return {
            "sent": self.sent,
            "acked": self.acked,
            "refused": self.refused,
            "pending": self.due - self.acked - self.refused,
            "reconnects": self.reconnects,
            "ack_p50_s": self.latencies.quantile_s(0.5),
            "ack_p99_s": self.latencies.quantile_s(0.99),
        }
