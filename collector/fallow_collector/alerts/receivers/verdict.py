"""What a reply means for the notification."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import msgspec

EXCERPT = 200
"""Characters of a reply that a problem repeats."""


@dataclass(frozen=True, slots=True)
class Delivered:
    pass


@dataclass(frozen=True, slots=True)
class Again:
    """The receiver cannot take it now. after_s: how long it asks us to wait; None: it does not say."""

    after_s: float | None
    problem: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver does not want it as it is: it is offered a few times more, slowly, in case somebody mends that."""

    problem: str


Verdict = Delivered | Again | Refused

NOT_NOW = frozenset({408, 425, 429})
"""Statuses below 500 that ask for another attempt: Request Timeout, Too Early, Too Many Requests."""


def of_status(status: int, headers: Mapping[str, str], body: bytes) -> Verdict:
    """By the status alone. headers: their names in small letters."""
    if 200 <= status < 300:
        return Delivered()
    if 300 <= status < 400:
        return Refused(
            f"it answered {status}, a redirect, which is never followed; expected 2xx: set the address it leads to"
        )
    problem = f"it answered {status}{said(body)}; expected 2xx"
    if status in NOT_NOW or status >= 500:
        return Again(retry_after(headers), problem)
    return Refused(problem)


def of_code(
    status: int, headers: Mapping[str, str], body: bytes, names: tuple[str, ...],
    is_busy: Callable[[int, str], bool],
) -> Verdict:
    """Of chat robots, which say in JSON whether they took it: the first of `names` there is 0. is_busy: whether a code
    and its message mean that too much was sent."""
    code = _code(body, names)
    if code is None:
        by_status = of_status(status, headers, body)
        if isinstance(by_status, Delivered):  # it may have come or not: better twice than never
            return Again(None, f"it answered {status}{said(body)}; expected JSON in which {names[0]} is 0")
        return by_status
    if code == 0 and 200 <= status < 300:
        return Delivered()
    problem = f"it answered {status} and {names[0]} {code}{said(body)}; expected {names[0]} 0"
    if status in NOT_NOW or status >= 500 or is_busy(code, body.decode(errors="replace")):
        return Again(retry_after(headers), problem)
    return Refused(problem)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds (RFC 9110, 10.2.3). A date is measured against the reply's own date, so that no clock of ours matters."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):  # no date, no reference, or one of both without a zone
        return None
    return max(0.0, wait.total_seconds())


def said(body: bytes) -> str:
    """The start of a reply, fit for a message of one line."""
    text = " ".join(body[:4 * EXCERPT].decode(errors="replace").split())
    text = "".join(letter for letter in text if letter.isprintable())
    return f" and said {text[:EXCERPT]!r}" if text else ""


def _code(body: bytes, names: tuple[str, ...]) -> int | None:
    try:
        reply = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(reply, dict):
        return None
    return next((reply[name] for name in names if type(reply.get(name)) is int), None)
