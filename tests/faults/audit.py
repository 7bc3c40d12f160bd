"""Compares every reading that was made with every row that was stored.

The oracle is outside the product: the simulated driver notes each value of the energy counter that it gives out, and
that counter never gives one value twice. So a value is a reading, and the same value in the store is its row.
"""

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import duckdb

from fallow_proto.metrics import NAMES
from fallow_proto.v1 import telemetry_pb2 as pb

ENERGY = "energy_joules_total"


class Verdict(NamedTuple):
    made: int
    stored: int
    lost: frozenset[int]  # owed, and not stored
    doubled: frozenset[int]
    invented: frozenset[int]  # stored, and never made
    never_owed: frozenset[int]  # made, not stored, and nobody promised to keep them


def audit(made: Iterable[int], stored: Iterable[int], owed: Iterable[int]) -> Verdict:
    """Values of the energy counter, in millijoules. owed: in a spool when its agent ended, or acknowledged."""
    made, rows, owed = frozenset(made), Counter(stored), frozenset(owed)
    kept = frozenset(rows)
    return Verdict(
        made=len(made), stored=rows.total(), lost=owed - kept,
        doubled=frozenset(value for value, times in rows.items() if times > 1),
        invented=kept - made, never_owed=made - kept - owed,
    )


def given_out(log: Path, uuid: str) -> list[int]:
    """The energy values of one device that the simulated driver gave out, in order."""
    whole, _, _ = log.read_text(encoding="ascii").rpartition("\n")  # the last line may be just being written
    lines = (line.split() for line in whole.splitlines())
    return [int(value) for device, value in lines if device == uuid]


def in_spool(directory: Path, uuid: str) -> list[int]:
    """The energy values of one device in the spool of an agent that has ended."""
    found = []
    with closing(sqlite3.connect(f"file:{directory / 'spool.sqlite'}?mode=ro", uri=True)) as spool:
        if not spool.execute("SELECT 1 FROM sqlite_master WHERE name = 'report'").fetchone():
            return []  # a disk lost its power before it had even the tables
        layouts = {
            number: pb.Layout.FromString(body) for number, body in spool.execute("SELECT number, body FROM layout")
        }
        for number, body in spool.execute("SELECT layout, body FROM report"):
            found += of_report(layouts[number], pb.Report.FromString(body), uuid)
    return found


def breaks_in_spool(directory: Path) -> list[int]:
    """The numbers of the reports in the spool of an agent that has ended whose predecessor is not there."""
    with closing(sqlite3.connect(f"file:{directory / 'spool.sqlite'}?mode=ro", uri=True)) as spool:
        reports = [pb.Report.FromString(body) for (body,) in spool.execute("SELECT body FROM report ORDER BY number")]
    return [after.seq for before, after in pairwise(reports) if after.previous != before.seq]


def of_report(layout: pb.Layout, report: pb.Report, uuid: str) -> list[int]:
    """The energy values of one device that a report carries; none that is not a number."""
    found = []
    for readings in report.readings:
        block = layout.blocks[readings.block]
        if uuid in block.devices and ENERGY in block.counters:
            at = list(block.devices).index(uuid) * len(block.counters) + list(block.counters).index(ENERGY)
            found += _millijoules([readings.counters[at]])
    return found


def in_store(directory: Path, uuid: str) -> list[int]:
    """The energy values of one device in all rows of the embedded store of a collector that has ended."""
    series = [number for number, named in uuids_of_series(directory).items() if named == uuid]
    these = f"series IN ({', '.join(map(str, series))})"
    found = []
    with closing(duckdb.connect()) as engine:
        for part in parts_of_store(engine, directory):
            if series and ENERGY in part.columns:
                rows = engine.execute(f"SELECT {ENERGY} FROM {part.table} WHERE {these}").fetchall()
                found += _millijoules([value for (value,) in rows if value is not None])
    return found


def uuids_of_series(directory: Path) -> dict[int, str]:
    with closing(sqlite3.connect(f"file:{directory / 'catalogue.sqlite'}?mode=ro", uri=True)) as catalogue:
        return dict(catalogue.execute("SELECT id, uuid FROM series"))


class Part(NamedTuple):
    """Of the embedded store: a closed file or a hot slice, as DuckDB is to be asked for it."""

    table: str
    columns: frozenset[str]
    time_ms: str


def parts_of_store(engine: duckdb.DuckDBPyConnection, directory: Path) -> Iterator[Part]:
    with closing(sqlite3.connect(f"file:{directory / 'catalogue.sqlite'}?mode=ro", uri=True)) as catalogue:
        files = catalogue.execute("SELECT name, columns FROM file WHERE kind IN ('slice', 'hour')").fetchall()
    for name, columns in files:
        path = directory / "parquet" / name
        yield Part(f"read_parquet('{path}')", frozenset(columns.split()), "epoch_ms(time)")
    for number, hot in enumerate(sorted((directory / "hot").glob("hot-*.duckdb"))):
        engine.execute(f"ATTACH '{hot}' AS hot_{number}")
        of_this = "SELECT 1 FROM duckdb_tables() WHERE database_name = ? AND table_name = 'row'"
        if not engine.execute(of_this, [f"hot_{number}"]).fetchone():
            continue  # its beginning failed, and the next start removes it
        yield Part(f"hot_{number}.row", frozenset(NAMES), "time_ms")


def _millijoules(joules: Iterable[float]) -> list[int]:
    return [round(value * 1000) for value in joules if not math.isnan(value)]
