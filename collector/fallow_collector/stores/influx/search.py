"""Storing a body of which the server may reject some lines: halve it until the lines at fault are alone.

InfluxDB stores the others and says how many it dropped; VictoriaMetrics from 1.112 on stores nothing of a body with one
bad line. Storing a line twice is harmless, so one way serves both.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from fallow_collector.stores.influx.bodies import Body
from fallow_collector.stores.influx.writer import Answer, Rejected, Stored, TooLarge
from fallow_collector.stores.store import StoreError

_MOST_POSTS = 500
"""For one body. What is not cleared by then is set aside whole: the file can be posted again by hand."""

_ABOUT_LINES = re.compile(r"partial write|unable to parse|dropped=\d", re.IGNORECASE)
"""InfluxDB's words for lines that it cannot take (1.6 to 2.7, tsdb/store.go and models/points.go)."""
_DROPPED = re.compile(r"dropped=(\d+)")


@dataclass(slots=True)
class Findings:
    """What became of the bodies of one batch."""

    posts: int = 0
    stored_lines: int = 0
    smallest_too_large: int | None = None
    """Bytes."""
    rejected: list[tuple[Body, str]] = field(default_factory=list)
    """With the server's words."""


def put(body: Body, post: Callable[[bytes], Answer], findings: Findings) -> None:
    """Store the body, or all of its lines but the rejected. Raises what `post` raises."""
    todo = [body]
    first = findings.posts
    while todo:
        part = todo.pop()
        findings.posts += 1
        match post(part.data):
            case Stored():
                findings.stored_lines += part.lines
            case TooLarge():
                if part.lines == 1:
                    findings.rejected.append((part, "too large for the server"))
                else:
                    size = len(part.data)
                    findings.smallest_too_large = min(findings.smallest_too_large or size, size)
                    todo += reversed(part.halves())
            case Rejected(message):
                spent = findings.posts - first >= _MOST_POSTS
                if part.lines == 1 or spent or _dropped(message) == part.lines:
                    findings.rejected.append((part, message))
                else:
                    todo += reversed(part.halves())


def confirm(findings: Findings, url: str) -> None:
    """Raise StoreError if it is the request that the server rejects, and not some lines.

    A wrong path or token is a 400 too, with VictoriaMetrics and vmauth. Lines are blamed, and lost, only if the server
    has stored others of the same batch or says in so many words that it is about lines.
    """
    if findings.rejected and not findings.stored_lines:
        for _, message in findings.rejected:
            if not _ABOUT_LINES.search(message):
                raise StoreError(
                    f"{url} rejects every row: {message}; expected some to be stored: check store.influx.url, org, "
                    "bucket and token_file"
                )


def _dropped(message: str) -> int:
    found = _DROPPED.search(message)
    return int(found[1]) if found else 0
