"""When the embedded store will be full. Pure.

It never is in the plain sense: for want of room it removes its oldest rows (retention.py). So full means here that it
would remove rows that are younger than raw_days.
"""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from .settings import EmbeddedSettings

WINDOW_S = 3600.0
"""Growth is what it was in the last hour: compaction makes less of the files of an hour, so a shorter time misleads."""

SOON_S = 30 * 86_400.0  # beyond that nobody can say
LEAST_S = 600.0  # a slice of rows becomes a smaller file after so long
_GIB = 2.0**30
_DAY_S = 86_400.0


class Room(NamedTuple):
    """At a moment, monotonic seconds. left: bytes until something must go. removed: bytes that went since the start,
    squeezed: files that went for want of room. raw: bytes of rows as they came, oldest_s: age of the oldest of them."""

    at: float
    left: float
    removed: float
    squeezed: float
    raw: float
    oldest_s: float


def room(facts: Mapping[str, float], settings: EmbeddedSettings, at: float, wall: float) -> Room:
    """Out of the store's own facts. wall: unix seconds."""
    return Room(
        at, min(settings.max_gib * _GIB - facts["bytes"], facts["free_bytes"] - settings.min_free_gib * _GIB),
        facts["removed_bytes_total"], facts["squeezed_files_total"], facts["raw_bytes"],
        max(0.0, wall - facts.get("oldest_row_unix_seconds", wall)),
    )


def full_in_s(then: Room, now: Room, settings: EmbeddedSettings) -> float | None:
    """Seconds until it removes what is younger than raw_days, if it goes on as between these two; None: it does not
    grow towards that, or it cannot be said."""
    if now.squeezed > then.squeezed or now.left <= 0:
        return 0.0
    if now.at - then.at < LEAST_S:
        return None
    keep_s = settings.raw_days * _DAY_S
    gained = (then.left - now.left + now.removed - then.removed) / (now.at - then.at)  # bytes a second
    until_aged_s = max(0.0, keep_s - now.oldest_s)
    if gained <= 0:
        return None
    left = now.left - gained * until_aged_s
    if left <= 0:
        in_s = now.left / gained
    else:  # from then on the oldest rows go at the pace at which as many came
        gained -= (now.raw + gained * until_aged_s) / keep_s
        in_s = until_aged_s + left / gained if gained > 0 else SOON_S
    return in_s if in_s < SOON_S else None


class Forecast:
    """Keeps the last hour."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._settings = settings
        self._seen: deque[Room] = deque()

    def look(self, facts: Mapping[str, float], at: float, wall: float) -> None:
        """at: monotonic, wall: unix seconds."""
        self._seen.append(room(facts, self._settings, at, wall))
        while self._seen[0].at < at - WINDOW_S:
            self._seen.popleft()

    @property
    def full_in_s(self) -> float | None:
        return full_in_s(self._seen[0], self._seen[-1], self._settings) if self._seen else None
