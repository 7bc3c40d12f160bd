"""The catalogue: the store's small durable state, in SQLite.

The manifest of closed files, the tags of each series, and the ranges committed by slices that are closed. A slice
becomes a file in one transaction here, so that each row and each range is either in the slice or here, never in both
and never in neither. Synchronous FULL, as SQLite's NORMAL loses the newest commits at a power cut.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from fallow_collector.stores.store import Series, Source
from fallow_proto.durable import expect_writable
from fallow_proto.ranges import RangeSet

from .files import File, FileKind

_VERSION = 1
_SCHEMA = """
CREATE TABLE series (
    id INTEGER PRIMARY KEY, site TEXT, node TEXT, uuid TEXT, vendor TEXT, model TEXT, class TEXT,
    UNIQUE (uuid, node, site, vendor, model, class)
);
CREATE TABLE committed (
    node TEXT, epoch TEXT, ranges TEXT, arrived REAL, PRIMARY KEY (node, epoch)
) WITHOUT ROWID;
CREATE TABLE file (
    name TEXT PRIMARY KEY, kind TEXT, number INTEGER, arrived REAL,
    first_ms INTEGER, last_ms INTEGER, rows INTEGER, bytes INTEGER, columns TEXT
);
CREATE TABLE closed (through INTEGER);
INSERT INTO closed VALUES (0);
"""


class NewerVersion(Exception):
    """The catalogue was written by a later version; nothing of it has been touched."""


class Catalogue:
    """Any thread may call it. Raises sqlite3.Error; at first NewerVersion, or sqlite3.DatabaseError if damaged."""

    def __init__(self, path: Path) -> None:
        self._lock = Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._prepare(path)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, path: Path) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise NewerVersion(
                f"{path} has schema version {version}, and this collector knows versions up to {_VERSION}: "
                "it was written by a newer collector; install that one, or name another [state] dir"
            )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        expect_writable(self._connection)
        if version == 0:
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {_VERSION}")
        ((verdict,),) = self._connection.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _select(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    # Series

    def number(self, series: Sequence[Series]) -> list[int]:
        """The numbers of sets of tags, new ones for those never seen."""
        numbers: list[int] = []
        with self._transaction():
            for one in series:
                row = self._connection.execute(
                    "SELECT id FROM series WHERE uuid = ? AND node = ? AND site = ? AND vendor = ? AND model = ? "
                    "AND class = ?",
                    (one.uuid, one.node, one.site, one.vendor, one.model, one.device_class),
                ).fetchone()
                if row is None:
                    row = self._connection.execute(
                        "INSERT INTO series (site, node, uuid, vendor, model, class) VALUES (?, ?, ?, ?, ?, ?) "
                        "RETURNING id", one,
                    ).fetchone()
                numbers.append(row[0])
        return numbers

    def numbers_of(self, uuid: str) -> list[int]:
        return [number for (number,) in self._select("SELECT id FROM series WHERE uuid = ?", uuid)]

    def tags(self) -> dict[int, Series]:
        rows = self._select("SELECT id, site, node, uuid, vendor, model, class FROM series")
        return {number: Series(*tags) for number, *tags in rows}

    def adopt_series(self, tags: Mapping[int, Series]) -> None:
        """Numbers that files of a lost catalogue use."""
        with self._transaction():
            self._connection.executemany(
                "INSERT OR IGNORE INTO series VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(number, *one) for number, one in tags.items()],
            )

    # Slices and files

    def files(self) -> list[File]:
        """The manifest, oldest arrival first."""
        rows = self._select("SELECT * FROM file ORDER BY arrived, number")
        return [
            File(name, FileKind(kind), number, arrived, first_ms, last_ms, count, size, tuple(columns.split()))
            for name, kind, number, arrived, first_ms, last_ms, count, size, columns in rows
        ]

    def closed_through(self) -> int:
        """The number of the newest slice that is closed; slices are closed in order."""
        number: int
        ((number,),) = self._select("SELECT through FROM closed")
        return number

    def close_slice(
        self, number: int, file: File | None, ranges: Mapping[Source, tuple[RangeSet, float]]
    ) -> None:
        """What was in the slice is here from now on; file: where its rows are, None if it had none."""
        with self._transaction():
            if file is not None:
                self._insert([file])
            for source, (added, arrived) in ranges.items():
                self._merge(source, added, arrived)
            self._connection.execute("UPDATE closed SET through = max(through, ?)", (number,))

    def replace(self, names: Collection[str], files: Iterable[File]) -> None:
        """Other files for these, or none."""
        with self._transaction():
            self._connection.executemany("DELETE FROM file WHERE name = ?", [(name,) for name in names])
            self._insert(files)

    def _insert(self, files: Iterable[File]) -> None:
        self._connection.executemany(
            "INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(*file[:-1], " ".join(file.columns)) for file in files],
        )

    # Ranges

    def _merge(self, source: Source, added: RangeSet, arrived: float) -> None:
        row = self._connection.execute(
            "SELECT ranges FROM committed WHERE node = ? AND epoch = ?", source
        ).fetchone()
        ranges = RangeSet(json.loads(row[0]) if row else ())
        ranges.update(added)
        self._connection.execute(
            "INSERT INTO committed VALUES (?, ?, ?, ?) ON CONFLICT (node, epoch) "
            "DO UPDATE SET ranges = excluded.ranges, arrived = max(arrived, excluded.arrived)",
            (*source, json.dumps(list(ranges)), arrived),
        )

    def committed(self) -> dict[Source, RangeSet]:
        """Of closed slices."""
        rows = self._select("SELECT node, epoch, ranges FROM committed")
        return {
            Source(node, epoch): RangeSet(json.loads(ranges))
            for node, epoch, ranges in rows
        }

    def forget_sources(self, before: float) -> None:
        """Forget the ranges of sources of which nothing has come since, unix seconds."""
        with self._transaction():
            self._connection.execute("DELETE FROM committed WHERE arrived < ?", (before,))

    def close(self) -> None:
        with self._lock:
            self._connection.close()
