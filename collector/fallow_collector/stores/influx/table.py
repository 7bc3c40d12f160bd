"""Columns that came one by one, each with its own times, as one table."""

from collections.abc import Sequence

import numpy as np

from fallow_collector.stores.store import HistoryQuery, StoreError, Table
from fallow_proto.metrics import BY_NAME


class Columns:
    """Collects (time, value) by column; the later of two values of one moment wins."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._position = {name: number for number, name in enumerate(names)}
        self._times: set[int] = set()
        self._found: list[tuple[int, Sequence[int], Sequence[float | None]]] = []

    def add(self, name: str, time_ms: Sequence[int], values: Sequence[float | None]) -> None:
        """A value of None is not known. A column that was not asked for is left out."""
        if name in self._position:
            self._times.update(time_ms)
            self._found.append((self._position[name], time_ms, values))

    def __len__(self) -> int:
        """How many rows."""
        return len(self._times)

    def table(self, limit: int) -> Table:
        """The oldest `limit` rows; a row of which nothing is known is none."""
        time_ms = np.array(sorted(self._times), np.int64)
        values = np.full((len(time_ms), len(self._position)), np.nan)
        for column, times, numbers in self._found:
            values[np.searchsorted(time_ms, np.asarray(times, np.int64)), column] = np.asarray(numbers, np.float64)
        known = np.isfinite(values).any(axis=1)
        return Table(time_ms[known][:limit] / 1000, values[known][:limit])


def bounds_ms(query: HistoryQuery) -> tuple[int, int]:
    """The first and the last millisecond of start <= t < end."""
    return round(query.start * 1000), round(query.end * 1000) - 1


def step_ms(query: HistoryQuery) -> int:
    """0 for the rows as they came. Steps are counted from the query's start."""
    return max(1, round(query.step * 1000)) if query.step > 0 else 0


def check(query: HistoryQuery) -> None:
    """Raises StoreError on a column that is no metric; names go into the text of queries."""
    unknown = [name for name in query.columns if name not in BY_NAME]
    if unknown:
        raise StoreError(f"no column {', '.join(unknown)}; expected names of the metric table")
