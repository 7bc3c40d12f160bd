"""What is done before the first write: finish or undo what a crash left, and set aside what is damaged."""

import logging
import os
import re
import shutil
import sqlite3
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fallow_collector.stores.store import Series
from fallow_proto.durable import expect_own, reread, sync_folder

from .catalogue import Catalogue
from .columns import TAGS
from .engine import Engine
from .files import File, FileKind, parse_name
from .hot import HotSlice, discard, slice_path
from .parquet import ASIDE, REPLACES
from .quarantine import Quarantine

_log = logging.getLogger(__name__)
_SLICE = re.compile(r"hot-([0-9]{8})\.duckdb")
_DAMAGED_AT = re.compile(r"Corrupt WAL file: entry at byte position (\d+)")
_EMPTY_LOG_BYTES = 4096  # the log of a slice whose tables were never committed


def open_catalogue(path: Path, parquet: Path, quarantine: Quarantine) -> Catalogue:
    """The catalogue; a damaged one is set aside and rebuilt from the files. Raises NewerVersion, sqlite3.Error."""
    log = path.with_name(path.name + "-wal")
    expect_own(path, log)
    fresh = not path.exists()
    try:
        catalogue = _opened_twice(path, log)
    except sqlite3.OperationalError:
        raise  # locked, no rights, disk full: nothing that a rebuilt one would not meet as well
    except sqlite3.DatabaseError as error:
        place = quarantine.take(path)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        _log.error("catalogue=damaged file=%s error=%r moved_to=%s lost=\"which reports are stored; rows that agents "
                   "send again are merged\"", path, str(error), place)
        fresh = True
        catalogue = Catalogue(path)
    if fresh:
        adopt(catalogue, parquet)
    return catalogue


def _opened_twice(path: Path, log: Path) -> Catalogue:
    """At the second attempt, if the first found damage. Raises as Catalogue does, and OSError."""
    try:
        return Catalogue(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        reread(path, log)
        return Catalogue(path)


def adopt(catalogue: Catalogue, parquet: Path) -> None:
    """Take the files that are there into a catalogue that is new."""
    found: list[File] = []
    replaced: set[int] = set()
    tags: dict[int, Series] = {}
    for path in sorted(parquet.glob("*.parquet")):
        if parse_name(path.name) is None:
            continue
        try:
            file, numbers = _describe(path, tags)
        except (OSError, pa.ArrowException) as error:
            _log.error("file=unreadable path=%s error=%r", path, str(error))
            continue
        replaced |= numbers
        found.append(file)
    kept = [file for file in found if file.kind is not FileKind.SLICE or file.number not in replaced]
    catalogue.adopt_series(tags)
    catalogue.replace((), kept)
    catalogue.close_slice(max((file.number for file in found), default=0), None, {})
    if kept:
        _log.warning("catalogue=rebuilt files=%d series=%d", len(kept), len(tags))


def _describe(path: Path, tags: dict[int, Series]) -> tuple[File, set[int]]:
    """The file's line of the manifest, and the slices that it replaces; its series are added to tags."""
    named = parse_name(path.name)
    assert named is not None
    kind, number, arrived = named
    newest = "last_time" if kind is FileKind.MINUTE else "time"
    first_ms, last_ms, rows = 2**63 - 1, -(2**63), 0
    with pq.ParquetFile(path) as file:
        metadata = file.schema_arrow.metadata or {}
        for batch in file.iter_batches(columns=sorted({"series", *TAGS, "time", newest})):
            seen = pa.table(batch.select(["series", *TAGS])).group_by(["series", *TAGS]).aggregate([])
            tags.update({row["series"]: Series(*(row[tag] for tag in TAGS)) for row in seen.to_pylist()})
            first_ms = min(first_ms, pa.compute.min(batch["time"]).cast(pa.int64()).as_py())
            last_ms = max(last_ms, pa.compute.max(batch[newest]).cast(pa.int64()).as_py())
            rows += batch.num_rows
        columns = tuple(file.schema_arrow.names)
    described = File(path.name, kind, number, arrived, first_ms, last_ms, rows, path.stat().st_size, columns)
    return described, {int(word) for word in metadata.get(REPLACES, b"").split()}


def sweep(catalogue: Catalogue, parquet: Path, quarantine: Quarantine) -> tuple[File, ...]:
    """Remove files that the manifest does not know, forget those that are gone or cut short; say what is left."""
    manifest = {file.name: file for file in catalogue.files()}
    for path in parquet.iterdir():
        own = parse_name(path.name.removesuffix(ASIDE)) is not None
        if own and path.name not in manifest:
            path.unlink()
    lost = []
    for file in manifest.values():
        path = parquet / file.name
        size = path.stat().st_size if path.is_file() else None
        if size != file.bytes:
            place = quarantine.take(path)
            _log.error("file=damaged path=%s found_bytes=%s expected_bytes=%d rows_lost=%d moved_to=%s",
                       path, size, file.bytes, file.rows, place)
            lost.append(file.name)
    if lost:
        catalogue.replace(lost, ())
    return tuple(file for file in manifest.values() if file.name not in lost)


def recover_slices(
    engine: Engine, folder: Path, closed_through: int, quarantine: Quarantine
) -> tuple[HotSlice, ...]:
    """Attach the slices that are not closed, oldest first. Raises duckdb.Error if it is not for their damage."""
    slices = []
    for path in sorted(folder.glob("hot-*.duckdb")):
        if (named := _SLICE.fullmatch(path.name)) is None:
            continue
        number = int(named[1])
        expect_own(path, path.with_name(path.name + ".wal"))
        if number <= closed_through:
            _remove(path)
        elif (hot := _recover(engine, number, folder, quarantine)) is not None:
            slices.append(hot)
    return tuple(slices)


def _recover(engine: Engine, number: int, folder: Path, quarantine: Quarantine) -> HotSlice | None:
    hot = HotSlice(number, slice_path(folder, number), frozenset(), full=True)
    log_bytes = hot.log.stat().st_size if hot.log.exists() else 0
    try:
        _attached_twice(engine, hot)
    except duckdb.Error as error:
        if not _salvaged(engine, hot, str(error), quarantine):
            for path in (hot.log, hot.path):
                quarantine.take(path)
            _log.error("slice=damaged path=%s error=%r lost=\"its rows: some minutes at most\"", hot.path, str(error))
            return None
    with engine.cursor() as cursor:
        columns = cursor.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = ?", [hot.alias]
        ).fetchall()
        hot.columns = frozenset(column for table, column in columns if table == "row")
        if {table for table, _ in columns} != {"row", "span"}:
            if log_bytes > _EMPTY_LOG_BYTES:
                place = quarantine.take(hot.log)
                _log.error("slice=damaged path=%s error=\"nothing readable in %d bytes\" moved_to=%s "
                           "lost=\"its rows: some minutes at most\"", hot.log, log_bytes, place)
            discard(engine, hot)
            return None
        ((hot.rows, oldest_ms),) = cursor.execute(f"SELECT count(*), min(time_ms) FROM {hot.alias}.row").fetchall()
        ((spans, arrived),) = cursor.execute(f"SELECT count(*), min(arrived) FROM {hot.alias}.span").fetchall()
    if not hot.rows and not spans:
        discard(engine, hot)
        return None
    hot.opened = arrived if arrived is not None else oldest_ms / 1000
    return hot


def _attached_twice(engine: Engine, hot: HotSlice) -> None:
    """At the second attempt, if the first failed. Raises duckdb.Error, and OSError for what is not the files' fault."""
    try:
        engine.attach(hot.path, hot.alias)
    except duckdb.Error:
        reread(hot.path, hot.log)
        engine.attach(hot.path, hot.alias)


def _salvaged(engine: Engine, hot: HotSlice, error: str, quarantine: Quarantine) -> bool:
    """Whether a damaged log could be read up to the damage."""
    damaged_at = _DAMAGED_AT.search(error)
    if damaged_at is None:
        return False
    size = hot.log.stat().st_size
    place = quarantine.take(hot.log)
    if place is None:
        return False
    shutil.copyfile(place, hot.log)
    os.truncate(hot.log, int(damaged_at[1]))
    sync_folder(hot.log.parent)
    try:
        engine.attach(hot.path, hot.alias)
    except duckdb.Error:
        return False
    _log.error("log=damaged path=%s at_byte=%s of_bytes=%d moved_to=%s lost=\"what came after that byte\"",
               hot.log, damaged_at[1], size, place)
    return True


def _remove(path: Path) -> None:
    path.with_name(path.name + ".wal").unlink(missing_ok=True)
    path.unlink()
