"""What a store of time series is to the rest of the collector.

A store is one package with one class of this shape. All its calls come from one thread, the writer's, but `history`,
which may come from any; it raises StoreError and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fallow_collector.series import Series as Series
from fallow_collector.series import Source as Source
from fallow_collector.series import Span as Span
from fallow_proto.ranges import RangeSet


class StoreError(Exception):
    """The store could not do it; nothing of the batch counts as stored, and the batch may be offered again."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that share their columns: one row is one device at one moment.

    time_ms: int64[n], unix milliseconds. series: int32[n], positions in Batch.series. gauges:
    float32[n, len(gauge_names)]. counters: float64[n, len(counter_names)]. NaN is not known; infinities do not occur.
    """

    time_ms: NDArray[np.int64]
    series: NDArray[np.int32]
    gauge_names: tuple[str, ...]
    gauges: NDArray[np.float32]
    counter_names: tuple[str, ...]
    counters: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be committed at once: the rows, and the sequence numbers that they came under.

    `series` only grows during the life of the collector, and a position in it never changes its meaning's uuid; a
    device whose tags changed gets a new position.
    """

    rows: Sequence[Rows]
    spans: Sequence[Span]
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of batches, this one's or earlier ones': each span is named once, by the list that it ends in."""

    committed: list[Span] = field(default_factory=list)  # in the store for good: acknowledge
    resend: list[Span] = field(default_factory=list)  # lost before it was for good: ask for it again
    refused_rows: int = 0  # rows that the store will never take, dead-lettered and counted
    message: str = ""  # about the refused ones


class HistoryQuery(NamedTuple):
    """One device's columns from start (included) to end (not included), unix seconds.

    step 0 asks for the rows as they came; otherwise for the mean of each step (a counter's last value), the row's time
    being the start of its step. At most `limit` rows, oldest first.
    """

    uuid: str
    columns: tuple[str, ...]
    start: float
    end: float
    step: float
    limit: int = 100_000


class Table(NamedTuple):
    """time: float64[n], unix seconds, rising. values: float64[n, columns]; NaN is not known."""

    time: NDArray[np.float64]
    values: NDArray[np.float64]


class Store(Protocol):
    def open(self) -> dict[Source, RangeSet]:
        """Make ready, recover what a crash left; say what is there for good."""

    def write(self, batch: Batch, now: float) -> Outcome:
        """Store a batch; when this returns the `committed` spans survive any crash. now: unix seconds."""

    def poll(self, now: float) -> Outcome:
        """What settled, or was found lost, since the last call. Called about once a second."""

    def maintain(self, now: float) -> None:
        """A bounded piece of background work: closing slices, compaction, retention. Called about once a second."""

    def history(self, query: HistoryQuery) -> Table: ...

    def facts(self) -> dict[str, float]:
        """Numbers about itself for /metrics, by name without prefix, e.g. {"bytes": 1.2e9}."""

    def close(self) -> None: ...
