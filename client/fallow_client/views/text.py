"""Values as text: units in the header, – for what is not known, and nothing that a terminal would obey."""

from collections.abc import Mapping
from typing import NamedTuple

UNKNOWN = "–"
GIB = 2.0**-30  # of a byte


class Unit(NamedTuple):
    ending: str  # of the metric's name
    scale: float
    symbol: str
    digits: int


_UNITS = (
    Unit("_error_ratio", 1e12, "errors per 10^12", 1),
    Unit("_ratio", 100.0, "%", 1),
    Unit("_bytes", GIB, "GiB", 1),
    Unit("_bytes_total", GIB, "GiB", 1),
    Unit("_bytes_per_second", 1e-9, "GB/s", 1),
    Unit("_watts", 1.0, "W", 0),
    Unit("_joules_total", 1 / 3.6e6, "kWh", 2),
    Unit("_celsius", 1.0, "°C", 0),
    Unit("_hertz", 1e-6, "MHz", 0),
    Unit("_seconds_total", 1.0, "s", 1),
    Unit("_cores", 1.0, "cores", 1),
    Unit("_total", 1.0, "", 0),
)
_PLAIN = Unit("", 1.0, "", 0)


def unit_of(metric: str) -> Unit:
    """How a metric of this name is shown."""
    return next((unit for unit in _UNITS if metric.endswith(unit.ending)), _PLAIN)


def label_of(metric: str) -> str:
    """`memory_usage_bytes` → `memory usage GiB`."""
    unit = unit_of(metric)
    return f"{metric.removesuffix(unit.ending).replace('_', ' ')} {unit.symbol}".rstrip()


def metric(name: str, value: float | None) -> str:
    """A metric's value in its unit, without the unit."""
    unit = unit_of(name)
    return number(value, unit.scale, unit.digits)


def number(value: float | None, scale: float = 1.0, digits: int = 0) -> str:
    if value is None:
        return UNKNOWN
    return f"{round(value * scale, digits) + 0.0:.{digits}f}"  # + 0.0: never "-0"


def age(age_ms: int | None) -> str:
    """Seconds."""
    return number(age_ms, 1e-3, 1)


def plain(text: str | None) -> str:
    """Text from elsewhere, without what a terminal would obey."""
    if text is None or text == "":
        return UNKNOWN
    return "".join(character if character.isprintable() else "?" for character in text)


def moment(time: str | None, beside: str = "") -> str:
    """`2026-03-01T12:00:00.250Z` as people read it; only the time of day when `beside` is of the same day."""
    if time is None:
        return UNKNOWN
    day, _, clock = plain(time).partition("T")
    clock = clock.partition(".")[0].removesuffix("Z")
    return clock if day == beside.partition("T")[0] else f"{day} {clock}"


def counts(by_word: Mapping[str, int]) -> str:
    """`{"stale": 3, "absent": 2}` → `3 stale, 2 absent`; the most first."""
    ordered = sorted(by_word.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {plain(word)}" for word, count in ordered)


def some(count: int, noun: str) -> str:
    """`1 device`, `2 devices`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float | None) -> str:
    """In the two largest units that say something: `2 h`, `5 min 30 s`."""
    if seconds is None:
        return UNKNOWN
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    d, h = divmod(hours, 24)
    parts = [f"{value} {unit}" for value, unit in ((d, "d"), (h, "h"), (m, "min"), (s, "s")) if value]
    return " ".join(parts[:2]) or "0 s"


def wholeness(complete: bool, missing: Mapping[str, int]) -> str:
    """`complete`, or `INCOMPLETE` with what is missing."""
    return "complete" if complete else "INCOMPLETE" + (f": {counts(missing)}" if missing else "")


def standing(as_of: str, complete: bool, oldest_ms: int | None, missing: Mapping[str, int]) -> str:
    """The line that every answer ends with: how old it is and whether anything is missing."""
    evidence = "no evidence" if oldest_ms is None else f"oldest evidence {age(oldest_ms)} s"
    return f"as of {plain(as_of)}, {evidence}, {wholeness(complete, missing)}"
