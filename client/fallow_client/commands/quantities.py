"""Amounts as people write them on a command line: 64GiB, 300T, 5m. Each raises ArgumentTypeError."""

import re
from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import UTC, datetime

BYTES = {"": 1.0, "B": 1.0} | {f"{prefix}iB": 1024.0**n for n, prefix in enumerate("KMGT", 1)} | {
    f"{prefix}B": 1000.0**n for n, prefix in enumerate("KMGT", 1)
}
FLOPS = {"": 1.0, "G": 1e9, "T": 1e12, "P": 1e15}
SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def size(text: str) -> int:
    """Bytes."""
    return round(_amount(text, BYTES, "64GiB or 80GB"))


def flops(text: str) -> float:
    """FLOP/s."""
    return _amount(text, FLOPS, "300T or 1.5P")


def seconds(text: str) -> float:
    """More than none: to the API 0 means that nothing was said."""
    found = _amount(text, SECONDS, "90s, 5m, 2h or 1d")
    if not found:
        raise ArgumentTypeError(f"{text!r}: expected more than 0, such as 90s, 5m, 2h or 1d")
    return found


def moment(text: str) -> str:
    """RFC 3339 in UTC with milliseconds; without an offset nobody knows whose clock is meant."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ArgumentTypeError(f"{text!r}: expected a time with its offset, such as 2026-03-01T20:00:00+08:00 or …Z")
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _amount(text: str, units: Mapping[str, float], such_as: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", text)
    if found is None or found[2] not in units:
        known = ", ".join(unit for unit in units if unit)
        raise ArgumentTypeError(f"{text!r}: expected such as {such_as}; units: {known}")
    return float(found[1]) * units[found[2]]
