"""What a query string may ask and what it means. Pure: the time is an argument."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from difflib import get_close_matches
from math import inf

from fallow_proto.metrics import NAMES
from fallow_proto.states import DeviceClass, Phase

PHASES = tuple(str(phase) for phase in Phase)
CLASSES = tuple(str(device_class) for device_class in DeviceClass)

_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_NUMBER = re.compile(r"\d+(\.\d+)?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_END_OF_YEAR_9999 = 253402300800.0  # what RFC 3339 can say
MAX_STEPS = 100_000  # rows of one answer; stores.store.HistoryQuery has the same


class BadQuery(ValueError):
    """The question cannot be understood; the message says what was found and what was expected."""


def words(given: Iterable[str] | None) -> tuple[str, ...]:
    """Words of a parameter that may be repeated, hold a comma list, or both; order kept, each once."""
    split = (word.strip() for text in given or () for word in text.split(","))
    return tuple(dict.fromkeys(word for word in split if word))


def known(name: str, given: Sequence[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """The given words, if all are allowed. Raises BadQuery with near misses."""
    for word in given:
        if word not in allowed:
            raise BadQuery(f"{name}={word}: there is no {word}; {_expected(word, allowed)}")
    return tuple(given)


def columns(given: Iterable[str] | None) -> tuple[str, ...]:
    """Names of the metric table. Raises BadQuery."""
    asked = words(given)
    if not asked:
        raise BadQuery(f"columns is empty; expected a comma list of {', '.join(NAMES)}")
    return known("columns", asked, NAMES)


def duration(name: str, text: str) -> float:
    """Seconds of `60`, `60s`, `1m`, `1.5h`, `7d`, `2w`. Raises BadQuery."""
    if _NUMBER.fullmatch(text):
        return float(text)
    if match := _DURATION.fullmatch(text):
        return float(match[1]) * _UNIT_S[match[2]]
    raise BadQuery(f"{name}={text}: expected seconds or a number with s, m, h, d or w, such as 60 or 1m")


def moment(name: str, text: str, now: float) -> float:
    """Unix seconds of unix seconds, RFC 3339, `now`, or a time ago such as `-1h`. Raises BadQuery."""
    time: float | None
    if text == "now":
        time = now
    elif text.startswith("-") and _DURATION.fullmatch(text[1:]):
        time = now - duration(name, text[1:])
    else:
        time = float(text) if _NUMBER.fullmatch(text) else _rfc3339(text)
    if time is None or not 0 <= time < _END_OF_YEAR_9999:
        raise BadQuery(
            f"{name}={text}: expected unix seconds, RFC 3339 with an offset such as 2026-01-31T08:00:00Z "
            f"(a + in a URL is written %2B), now, or a time ago such as -1h"
        )
    return time


def span(start: str, end: str, step: str, now: float) -> tuple[float, float, float]:
    """Start, end and step in seconds; step 0 asks for the rows as they came. Raises BadQuery."""
    first, last, width = moment("start", start, now), moment("end", end, now), duration("step", step)
    if first >= last:
        raise BadQuery(f"start={start} is not before end={end}; expected start < end")
    steps = (last - first) / width if width else -inf
    if steps > MAX_STEPS:
        raise BadQuery(
            f"step={step} makes {steps:.0f} rows of {start}..{end}, at most {MAX_STEPS} are answered; "
            f"expected a step of at least {(last - first) / MAX_STEPS:.3g} s, or a shorter span"
        )
    return first, last, width


def no_others(asked: Iterable[str], allowed: Sequence[str]) -> None:
    """Refuse parameters that would be ignored: whoever misspells a filter must not get an unfiltered answer."""
    for name in asked:
        if name not in allowed:
            expected = _expected(name, allowed) if allowed else "none is expected here"
            raise BadQuery(f"there is no parameter {name}; {expected}")


def _expected(word: str, allowed: Sequence[str]) -> str:
    near = get_close_matches(word, allowed, n=3, cutoff=0.5)  # lower than usual: `powr` is meant to find power_watts
    return f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(allowed)}"


def _rfc3339(text: str) -> float | None:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed.timestamp() if parsed.tzinfo is not None else None
