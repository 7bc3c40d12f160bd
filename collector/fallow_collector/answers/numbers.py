"""Numbers and times as the API writes them: what is not known is null."""

from datetime import UTC, datetime
from math import ceil, isfinite


def rfc3339(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def known(value: float) -> float | None:
    return value if isfinite(value) else None


def milliseconds(seconds: float) -> int | None:
    """Rounded up, so that an age is never said to be less than it is."""
    return ceil(1000 * seconds) if isfinite(seconds) else None
