"""Hot slices: the newest rows and the sequence numbers they came under, one small DuckDB file for some minutes.

A write is one transaction in the slice's write-ahead log, which DuckDB syncs at each commit. The log is never folded
into the file (engine.py says why); when the slice is closed, both are unlinked. After a restart the slices that are
there are only read: whatever a crash left at the end of a log, nothing is ever appended behind it.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fallow_collector.stores.store import Batch, Rows, Source, Span
from fallow_proto.durable import sync_folder
from fallow_proto.failpoint import Point, reached
from fallow_proto.metrics import NAMES
from fallow_proto.ranges import RangeSet

from .columns import sql_type
from .engine import Engine


@dataclass(slots=True)
class HotSlice:
    """Written by the writer's thread only, and by nobody once it is full."""

    number: int
    path: Path
    columns: frozenset[str]
    rows: int = 0
    opened: float | None = None  # unix seconds of its first write
    full: bool = False

    @property
    def alias(self) -> str:
        return f"hot_{self.number}"

    @property
    def log(self) -> Path:
        return self.path.with_name(self.path.name + ".wal")


def slice_path(folder: Path, number: int) -> Path:
    return folder / f"hot-{number:08d}.duckdb"


def begin(engine: Engine, folder: Path, number: int) -> HotSlice:
    """A new, empty slice. Raises duckdb.Error and OSError, and leaves nothing then."""
    hot = HotSlice(number, slice_path(folder, number), frozenset(NAMES))
    metrics = ", ".join(f"{name} {sql_type(name)}" for name in NAMES)
    try:
        engine.attach(hot.path, hot.alias)
        with engine.cursor() as cursor:
            cursor.begin()
            cursor.execute(f"CREATE TABLE {hot.alias}.row (series INTEGER, time_ms BIGINT, {metrics})")
            cursor.execute(
                f"CREATE TABLE {hot.alias}.span "
                "(node VARCHAR, epoch VARCHAR, lo BIGINT, hi BIGINT, arrived DOUBLE)"
            )
            cursor.commit()
        sync_folder(folder)
        reached(Point.SLICE_AFTER_BEGIN)
    except (duckdb.Error, OSError):
        discard(engine, hot)
        raise
    return hot


def discard(engine: Engine, hot: HotSlice) -> None:
    """Remove a slice. Queries that still read it keep its files open until they are done."""
    with suppress(duckdb.Error):  # it was never attached, or the instance is broken and will be restarted
        engine.detach(hot.alias)
    hot.log.unlink(missing_ok=True)
    hot.path.unlink(missing_ok=True)


def insert(
    cursor: duckdb.DuckDBPyConnection, hot: HotSlice, batch: Batch, ids: NDArray[np.int32], now: float
) -> None:
    """Commit a batch; ids are the series numbers of the batch's positions. Raises duckdb.Error: nothing is stored."""
    cursor.begin()
    try:
        for rows in batch.rows:
            _insert(cursor, f"{hot.alias}.row", _table_of(rows, hot.columns, ids))
        _insert(cursor, f"{hot.alias}.span", _table_of_spans(batch.spans, now))
        reached(Point.STORE_BEFORE_COMMIT)
        cursor.commit()
        reached(Point.STORE_AFTER_COMMIT)
    except duckdb.Error:
        with suppress(duckdb.Error):  # a commit that failed has rolled back already
            cursor.rollback()
        raise
    if hot.opened is None:
        hot.opened = now
    hot.rows += sum(len(rows.time_ms) for rows in batch.rows)


def _insert(cursor: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    if not table.num_rows:
        return
    cursor.register("block", table)
    try:
        cursor.execute(f"INSERT INTO {name} ({', '.join(table.column_names)}) SELECT * FROM block")
    finally:
        cursor.unregister("block")


def _table_of(rows: Rows, known: frozenset[str], ids: NDArray[np.int32]) -> pa.Table:
    """Columns that the table of metrics does not have (an agent of another version) are left out."""
    columns = {"series": pa.array(ids[rows.series]), "time_ms": pa.array(rows.time_ms)}
    for names, matrix in ((rows.gauge_names, rows.gauges), (rows.counter_names, rows.counters)):
        by_column = np.ascontiguousarray(matrix.T)
        for name, values in zip(names, by_column, strict=True):
            if name in known:
                columns[name] = pa.array(values, from_pandas=True)  # NaN becomes null
    return pa.table(columns)


def _table_of_spans(spans: Sequence[Span], now: float) -> pa.Table:
    return pa.table({
        "node": [span.source.node for span in spans],
        "epoch": [span.source.epoch for span in spans],
        "lo": pa.array([span.lo for span in spans], pa.int64()),
        "hi": pa.array([span.hi for span in spans], pa.int64()),
        "arrived": np.full(len(spans), now),
    })


def committed(cursor: duckdb.DuckDBPyConnection, hot: HotSlice) -> dict[Source, tuple[RangeSet, float]]:
    """What the slice's rows came under, and when the last of it arrived (unix seconds)."""
    found: dict[Source, tuple[RangeSet, float]] = {}
    # Neighbours are merged by SQL: a slice has some ten spans of each node, and some hundred thousand in all.
    merged = cursor.execute(f"""
        SELECT node, epoch, min(lo), max(hi), max(arrived) FROM (
            SELECT *, sum(apart) OVER (PARTITION BY node, epoch ORDER BY lo, hi ROWS UNBOUNDED PRECEDING) AS island
            FROM (
                SELECT *, coalesce(lo > 1 + max(hi) OVER (
                    PARTITION BY node, epoch ORDER BY lo, hi ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ), true)::INTEGER AS apart
                FROM {hot.alias}.span
            )
        ) GROUP BY node, epoch, island
    """).fetchall()
    for node, epoch, lo, hi, arrived in merged:
        ranges, last = found.get(Source(node, epoch), (RangeSet(), arrived))
        ranges.add(lo, hi)
        found[Source(node, epoch)] = (ranges, max(last, arrived))
    return found
