"""Answering a history query over hot slices, closed files and roll-ups together.

Each row is in exactly one hot slice, slice file or hour file, and an hour file's roll-ups say the same in short: so of
each hour one of the two is read, and nothing is counted twice.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
from numpy.typing import NDArray

from fallow_collector.stores.store import HistoryQuery, Table
from fallow_proto.metrics import BY_NAME, Kind

from .files import Contents, File, FileKind
from .hot import HotSlice

_MINUTE_MS = 60_000


class Window(NamedTuple):
    """A query's times, in milliseconds since the epoch."""

    start: int
    end: int
    step: int


class Plan(NamedTuple):
    """What is to be read."""

    hot: tuple[HotSlice, ...]
    raw: tuple[File, ...]
    minutes: tuple[File, ...]


def window_of(query: HistoryQuery) -> Window:
    step = max(1, round(query.step * 1000)) if query.step else 0
    return Window(round(query.start * 1000), round(query.end * 1000), step)


def plan(contents: Contents, window: Window) -> Plan:
    """Rows as they came where they are still there, roll-ups where not, or where they say exactly the same."""
    wanted = [file for file in contents.files if file.last_ms >= window.start and file.first_ms < window.end]
    raw = [file for file in wanted if file.kind is not FileKind.MINUTE]
    if not window.step:
        return Plan(contents.hot, tuple(raw), ())
    fits = window.step % _MINUTE_MS == 0 and window.start % _MINUTE_MS == 0
    minutes = [file for file in wanted if file.kind is FileKind.MINUTE]
    rolled = {file.number for file in minutes}
    in_full = {
        file.number for file in raw
        if file.kind is FileKind.HOUR and not (fits and file.last_ms < window.end and file.number in rolled)
    }
    return Plan(
        contents.hot,
        tuple(file for file in raw if file.kind is FileKind.SLICE or file.number in in_full),
        tuple(file for file in minutes if file.number not in in_full),
    )


def run(
    cursor: duckdb.DuckDBPyConnection, chosen: Plan, folder: Path, numbers: Sequence[int], query: HistoryQuery
) -> Table:
    """numbers: the series of the device. Raises duckdb.Error."""
    window = window_of(query)
    if not numbers or not query.columns or not any(chosen):
        return _empty(len(query.columns))
    these = f"series IN ({', '.join(str(number) for number in numbers)})"
    rows = _rows(chosen, these, window, query.columns)
    statement = _stepped(rows, chosen, these, window, query.columns) if window.step else _as_they_came(rows, query)
    found = cursor.execute(f"{statement} LIMIT {query.limit}", _paths(chosen, folder)).fetchnumpy()
    times, *columns = (_filled(found[name]) for name in found)
    return Table(times / 1000.0, np.column_stack(columns))


def _rows(chosen: Plan, these: str, window: Window, columns: Sequence[str]) -> str:
    """Rows as they came, one a moment: groups of columns read at one tick may lie in rows of their own."""
    inside = f"{these} AND time_ms >= {window.start} AND time_ms < {window.end}"
    nothing = ", ".join(f"NULL::DOUBLE AS {name}" for name in columns)
    parts = [f"SELECT NULL::BIGINT AS time_ms, {nothing} WHERE false"]
    parts += [
        f"SELECT time_ms, {_known(columns, hot.columns)} FROM {hot.alias}.row WHERE {inside}" for hot in chosen.hot
    ]
    if chosen.raw:
        present = {name for file in chosen.raw for name in file.columns}
        parts.append(
            f"SELECT epoch_ms(time) AS time_ms, {_known(columns, present)} "
            f"FROM read_parquet($raw, union_by_name = true) WHERE {inside}"
        )
    each = ", ".join(f"any_value({name}) AS {name}" for name in columns)
    return f"SELECT time_ms, {each} FROM ({' UNION ALL '.join(parts)}) GROUP BY time_ms"


def _as_they_came(rows: str, query: HistoryQuery) -> str:
    known = " OR ".join(f"{name} IS NOT NULL" for name in query.columns)
    return f"SELECT * FROM ({rows}) WHERE {known} ORDER BY time_ms"


def _stepped(rows: str, chosen: Plan, these: str, window: Window, columns: Sequence[str]) -> str:
    gauges = [name for name in columns if BY_NAME[name].kind is Kind.GAUGE]
    counters = [name for name in columns if BY_NAME[name].kind is Kind.COUNTER]
    weighed = [f"{name} AS {name}_sum, ({name} IS NOT NULL)::INTEGER AS {name}_n" for name in gauges]
    parts = [f"SELECT {', '.join(['time_ms AS at_ms', 'time_ms AS last_ms', *weighed, *counters])} FROM ({rows})"]
    if chosen.minutes:
        present = {name for file in chosen.minutes for name in file.columns}
        folded = _known([f"{name}_{fold}" for name in gauges for fold in ("sum", "n")] + counters, present)
        parts.append(
            f"SELECT epoch_ms(time) AS at_ms, epoch_ms(last_time) AS last_ms, {folded} "
            f"FROM read_parquet($minutes, union_by_name = true) "
            f"WHERE {these} AND at_ms >= {window.start} AND at_ms < {window.end}"
        )
    each = {name: f"sum({name}_sum) / nullif(sum({name}_n), 0)" for name in gauges}
    each |= {name: f"arg_max({name}, last_ms)" for name in counters}
    return (
        f"SELECT (at_ms - {window.start}) // {window.step} * {window.step} + {window.start} AS step_ms, "
        f"{', '.join(f'{each[name]} AS {name}' for name in columns)} FROM ({' UNION ALL '.join(parts)}) "
        f"GROUP BY step_ms HAVING {' OR '.join(f'{each[name]} IS NOT NULL' for name in columns)} ORDER BY step_ms"
    )


def _known(columns: Sequence[str], present: frozenset[str] | set[str]) -> str:
    """The columns as doubles; one that came with a later version is not known in older rows."""
    return ", ".join(f"{name if name in present else 'NULL'}::DOUBLE AS {name}" for name in columns)


def _paths(chosen: Plan, folder: Path) -> dict[str, list[str]]:
    paths = {"raw": chosen.raw, "minutes": chosen.minutes}
    return {name: [str(folder / file.name) for file in files] for name, files in paths.items() if files}


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ma.filled(values.astype(np.float64), np.nan)


def _empty(columns: int) -> Table:
    return Table(np.empty(0), np.empty((0, columns)))
