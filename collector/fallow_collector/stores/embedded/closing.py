"""From hot slice to Parquet, and from the slices of an hour to an hour file and its roll-ups.

Both work in pieces of bounded memory, a range of series at a time, and only read the database: nothing has changed
until the files have their names and the catalogue is told.
"""

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from fallow_collector.stores.store import Series
from fallow_proto.metrics import NAMES

from .columns import COUNTERS, GAUGES, MINUTE, RAW
from .engine import Engine
from .files import File, FileKind
from .hot import HotSlice
from .parquet import ParquetFile, pieces, with_tags

_PIECE_ROWS = 200_000
"""About 30 MB of Arrow and as much again while it is sorted; larger ones keep writes waiting longer (half a second at
500,000) and are no faster."""
_HOUR_S = 3600


def close(engine: Engine, hot: HotSlice, folder: Path, tags: Mapping[int, Series]) -> File | None:
    """Write a slice's rows to a file. None if it has none. Raises duckdb.Error, OSError and pa.ArrowException."""
    if not hot.rows:
        return None
    source = f"{hot.alias}.row"
    with (
        engine.cursor() as cursor,
        ParquetFile(folder, FileKind.SLICE, hot.number, hot.opened or 0.0, RAW) as file,
    ):
        counts = cursor.execute(f"SELECT series, count(*) FROM {source} GROUP BY series ORDER BY series").fetchall()
        present = [name for name in NAMES if name in hot.columns]
        for lo, hi in pieces(counts, _PIECE_ROWS):
            # Groups of columns that were read at one tick came as rows of their own: here they become one row.
            rows = cursor.sql(
                f"SELECT series, time_ms, {_each('any_value({0}) AS {0}', present)} FROM {source} "
                f"WHERE series BETWEEN {lo} AND {hi} GROUP BY series, time_ms ORDER BY series, time_ms"
            ).to_arrow_table()
            file.add(with_tags(_as_time(_whole(rows), "time_ms", "time"), tags))
        return file.finish()


class Compacted(NamedTuple):
    replaced: tuple[str, ...]
    files: tuple[File, ...]


def compact(
    engine: Engine, slices: Sequence[File], folder: Path, tags: Mapping[int, Series]
) -> Generator[Compacted | None, None, None]:
    """Merge slices, one piece at each step; the last step yields what became of them.

    Raises duckdb.Error, OSError and pa.ArrowException.
    """
    number = max(file.number for file in slices)
    arrived = min(file.arrived for file in slices)
    paths = [str(folder / file.name) for file in slices]
    present = [name for name in NAMES if any(name in file.columns for file in slices)]
    with (
        ParquetFile(folder, FileKind.HOUR, number, arrived, RAW, [file.number for file in slices]) as hour,
        ParquetFile(folder, FileKind.MINUTE, number, arrived, MINUTE) as minute,
    ):
        with engine.cursor() as cursor:
            counts = cursor.execute(
                "SELECT series, count(*) FROM read_parquet(?) GROUP BY series ORDER BY series", [paths]
            ).fetchall()
        for lo, hi in pieces(counts, _PIECE_ROWS):
            with engine.cursor() as cursor:
                rows = _whole(_read(cursor, paths, present, lo, hi))
                hour.add(with_tags(_as_time(rows, "time_ms", "time"), tags))
                minute.add(with_tags(_rolled(cursor, rows), tags), newest="last_time")
            yield None
        yield Compacted(tuple(file.name for file in slices), (hour.finish(), minute.finish()))


def due(files: Sequence[File], hot: Sequence[HotSlice], now: float) -> tuple[File, ...]:
    """The slices of the oldest hour, by arrival, to which nothing can be added any more."""
    open_hours = {hour_of(one.opened) for one in hot if one.opened is not None}
    by_hour: dict[int, list[File]] = {}
    for file in files:
        if file.kind is FileKind.SLICE:
            by_hour.setdefault(hour_of(file.arrived), []).append(file)
    ended = [hour for hour in by_hour if (hour + 1) * _HOUR_S <= now and hour not in open_hours]
    return tuple(by_hour[min(ended)]) if ended else ()


def hour_of(arrived: float) -> int:
    return int(arrived // _HOUR_S)


def _read(
    cursor: duckdb.DuckDBPyConnection, paths: list[str], present: Sequence[str], lo: int, hi: int
) -> pa.Table:
    rows = cursor.sql(
        f"SELECT series, epoch_ms(time) AS time_ms, {', '.join(present)} "
        "FROM read_parquet($paths, union_by_name = true) WHERE series BETWEEN $lo AND $hi ORDER BY series, time_ms",
        params={"paths": paths, "lo": lo, "hi": hi},
    ).to_arrow_table()
    if not _has_doubles(rows):
        return rows
    # A batch that was refused by a disk that failed may be there all the same, and once more from when it was repeated.
    cursor.register("piece", rows)
    return cursor.sql(
        f"SELECT series, time_ms, {_each('any_value({0}) AS {0}', present)} FROM piece "
        "GROUP BY series, time_ms ORDER BY series, time_ms"
    ).to_arrow_table()


def _has_doubles(rows: pa.Table) -> bool:
    series, time_ms = rows["series"].to_numpy(), rows["time_ms"].to_numpy()
    return bool(((series[1:] == series[:-1]) & (time_ms[1:] == time_ms[:-1])).any())


def _rolled(cursor: duckdb.DuckDBPyConnection, rows: pa.Table) -> pa.Table:
    gauges = "sum({0})::FLOAT AS {0}_sum, min({0}) AS {0}_min, max({0}) AS {0}_max, count({0})::INTEGER AS {0}_n"
    cursor.register("piece", rows)
    rolled = cursor.sql(
        "SELECT series, time_ms // 60000 * 60000 AS minute_ms, max(time_ms) AS last_ms, "
        f"{_each(gauges, GAUGES)}, {_each('arg_max({0}, time_ms) AS {0}', COUNTERS)} "
        "FROM piece GROUP BY series, minute_ms ORDER BY series, minute_ms"
    ).to_arrow_table()
    return _as_time(_as_time(rolled, "minute_ms", "time"), "last_ms", "last_time")


def _whole(rows: pa.Table) -> pa.Table:
    """With every column of today; what the slice did not have yet is not known."""
    for name in NAMES:
        if name not in rows.schema.names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, RAW.field(name).type))
    return rows


def _as_time(rows: pa.Table, column: str, name: str) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(column), name, rows[column].cast(RAW.field("time").type))


def _each(template: str, names: Sequence[str]) -> str:
    return ", ".join(template.format(name) for name in names)
