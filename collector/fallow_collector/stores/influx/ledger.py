"""Which sequence numbers the store has for good, kept in SQLite across restarts of the collector.

It only ever says less than the truth: a number that is missing is sent again, and that is harmless.
"""

import logging
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from fallow_collector.stores.store import Source, Span, StoreError
from fallow_proto.ranges import RangeSet

_log = logging.getLogger(__name__)

_SCHEMA = 1
_KEEP_DAYS = 90
"""A source that nobody heard of for so long is forgotten: an agent's spool holds three days by default."""
_DAY_S = 86_400

_CREATE = f"""
CREATE TABLE source (id INTEGER PRIMARY KEY, node TEXT, epoch TEXT, day INTEGER, UNIQUE (node, epoch));
CREATE TABLE range (source INTEGER, lo INTEGER, hi INTEGER, PRIMARY KEY (source, lo)) WITHOUT ROWID;
PRAGMA user_version = {_SCHEMA};
"""


class Ledger:
    """Committed ranges by source; open it before anything else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._ids: dict[Source, int] = {}
        self._days: dict[int, int] = {}
        self._today = 0

    def open(self) -> dict[Source, RangeSet]:
        """What is there for good. A damaged file is set aside: agents then send all that they still have.

        Raises StoreError.
        """
        try:
            try:
                return self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # locked, no permission, disk full: not damage
                    raise
                self._set_aside(error)
                return self._open()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"the ledger {self._path} cannot be opened: {error}; check the folder's owner and free space"
            ) from error

    def add(self, spans: Iterable[Span], now: float) -> None:
        """Durable when it returns: all of the spans, or none and a StoreError."""
        if self._db is None:
            raise StoreError(f"the ledger {self._path} is not open")
        merged: dict[Source, RangeSet] = {}
        for span in spans:
            merged.setdefault(span.source, RangeSet()).add(span.lo, span.hi)
        day = int(now // _DAY_S)
        try:
            with self._db:
                for source, ranges in merged.items():
                    number = self._number(self._db, source, day)
                    for lo, hi in ranges:
                        _merge(self._db, number, lo, hi)
        except sqlite3.Error as error:
            self._ids.clear()  # what the transaction had added is gone
            self._days.clear()
            self._today = 0
            raise StoreError(
                f"the ledger {self._path} cannot be written: {error}; check the disk's free space"
            ) from error

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _open(self) -> dict[Source, RangeSet]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # The writer's thread is not always the one that opens.
        db = sqlite3.connect(self._path, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                db.executescript(f"BEGIN; {_CREATE} COMMIT;")
            elif version != _SCHEMA:
                raise StoreError(
                    f"the ledger {self._path} has schema {version}, expected {_SCHEMA}: it was written by another "
                    "version of the collector; run that one, or move the file away and let agents send again"
                )
            found = {
                (node, epoch): (number, day)
                for number, node, epoch, day in db.execute("SELECT id, node, epoch, day FROM source")
            }
            ranges: dict[int, RangeSet] = {}
            for number, lo, hi in db.execute("SELECT source, lo, hi FROM range ORDER BY source, lo"):
                ranges.setdefault(number, RangeSet()).add(lo, hi)
        except BaseException:
            db.close()
            raise
        self._db = db
        self._ids = {Source(*key): number for key, (number, _) in found.items()}
        self._days = dict(found.values())
        return {source: ranges.get(number, RangeSet()) for source, number in self._ids.items()}

    def _set_aside(self, error: sqlite3.Error) -> None:
        aside = self._path.with_name(self._path.name + ".damaged")
        _log.error("ledger=%s damaged=%r moved_to=%s agents_send_again", self._path, str(error), aside)
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                part.replace(aside.with_name(aside.name + suffix))

    def _number(self, db: sqlite3.Connection, source: Source, day: int) -> int:
        """The source's number; once a day its day is moved on, and what is too old is forgotten."""
        number = self._ids.get(source)
        if number is not None and self._days.get(number) == day:
            return number
        (number,) = db.execute(
            "INSERT INTO source (node, epoch, day) VALUES (?, ?, ?) "
            "ON CONFLICT (node, epoch) DO UPDATE SET day = excluded.day RETURNING id",
            (*source, day),
        ).fetchone()
        if self._today < day:
            self._forget(db, day - _KEEP_DAYS)
            self._today = day
        self._ids[source] = number
        self._days[number] = day
        return int(number)

    def _forget(self, db: sqlite3.Connection, before: int) -> None:
        db.execute("DELETE FROM range WHERE source IN (SELECT id FROM source WHERE day < ?)", (before,))
        db.execute("DELETE FROM source WHERE day < ?", (before,))
        self._ids = {source: number for source, number in self._ids.items() if self._days[number] >= before}
        self._days = {number: day for number, day in self._days.items() if day >= before}


def _merge(db: sqlite3.Connection, source: int, lo: int, hi: int) -> None:
    """Add lo..hi to the source's ranges, which stay disjoint and not adjacent."""
    touching: list[tuple[int, int]] = []
    below = db.execute("SELECT lo, hi FROM range WHERE source = ? AND lo <= ? ORDER BY lo DESC", (source, hi + 1))
    for row in below:
        if row[1] < lo - 1:
            break
        touching.append(row)
    below.close()
    hi = max([hi, *(row[1] for row in touching)])
    lo = min([lo, *(row[0] for row in touching)])
    for row in touching:
        if row[0] != lo:
            db.execute("DELETE FROM range WHERE source = ? AND lo = ?", (source, row[0]))
    db.execute("INSERT OR REPLACE INTO range (source, lo, hi) VALUES (?, ?, ?)", (source, lo, hi))
