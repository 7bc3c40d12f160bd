"""Which writes count as stored for good by now, and which were lost: a pure table over what was seen of the server.

VictoriaMetrics answers 204 and keeps the rows in memory for up to 11 s (measured with kill -9). So a write counts only
once the very process that took it was seen alive `settle_s` after the answer. What a process takes with it when it
dies is asked for again; writes are idempotent by (series, time), so that asking too often costs bandwidth only.

seen            writes it says something about      verdict
Alive, same     that are due                        settled
Alive, same     that are not                        waiting
Alive, other    all that another process took       lost
Broken          all                                 lost: the process may be gone, and with it what it held
Silent          none                                waiting: a process that is slow has lost nothing yet
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fallow_collector.stores.store import Span


class Alive(NamedTuple):
    """It answered. start: when its process began, unix seconds; None: it does not say.

    A server that does not say is taken for the same one until the connection breaks.
    """

    start: float | None


class Silent(NamedTuple):
    """It did not answer in time."""


class Broken(NamedTuple):
    """The connection was refused or torn down."""


Seen = Alive | Silent | Broken


class Written(NamedTuple):
    """A write that was answered with 204."""

    spans: tuple[Span, ...]
    due: float
    """settle_s after the answer, seconds of a clock that nobody sets."""
    start: float | None
    """Of the process that is believed to have taken it, as in Alive."""


class Verdict(NamedTuple):
    settled: list[Span]
    lost: list[Span]
    waiting: list[Written]


def judge(writes: Sequence[Written], seen: Seen, now: float) -> Verdict:
    """Sort the writes by what was seen of the server at `now`, on the clock of Written.due."""
    match seen:
        case Silent():
            return Verdict([], [], list(writes))
        case Broken():
            return Verdict([], _spans(writes), [])
        case Alive(start):
            mine = [write for write in writes if write.start == start]
            return Verdict(
                settled=_spans(write for write in mine if now >= write.due),
                lost=_spans(write for write in writes if write.start != start),
                waiting=[write for write in mine if now < write.due],
            )


def _spans(writes: Iterable[Written]) -> list[Span]:
    return [span for write in writes for span in write.spans]
