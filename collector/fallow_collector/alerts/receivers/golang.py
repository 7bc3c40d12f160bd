"""Times as programs in Go write and read them (RFC3339Nano)."""

from datetime import UTC, datetime

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: none."""


def instant(at: float) -> str:
    """at: unix seconds. To the millisecond, without zeros at the end."""
    text = datetime.fromtimestamp(round(at, 3), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}Z"
