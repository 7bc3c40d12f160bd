"""One SQLite database of reports and events, on disk or in memory.

A row's number is (number of its epoch << 40) + seq, so that the order of the table is the order of arrival, a range of
sequence numbers is a range of rows, and one b-tree is enough. What is committed survives kill -9; on a power cut the
last commits may be missing (synchronous NORMAL), which is no loss that counts: nothing of it was acknowledged to
anybody, and the collector asks for what it lacks.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache, partial
from itertools import count
from pathlib import Path
from zlib import crc32

from google.protobuf.message import DecodeError

from fallow_agent.errors import SpoolDamaged, SpoolError, SpoolNewer
from fallow_agent.spool.header import check_header
from fallow_agent.spool.item import Commit, Counters, Dropped, Item, Ranges, Refused
from fallow_agent.spool.log import lost_commits
from fallow_agent.spool.seal import sealed
from fallow_proto.codec import layout_hash
from fallow_proto.failpoint import Point, reached
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb

SCHEMA = 2  # 1: a row's checksum is of its body only
_SEQ_BITS = 40
_LAST_SEQ = (1 << _SEQ_BITS) - 1
_DEAD_LETTERS = 1_000
_LAYOUTS = 16  # more than that, and the ones that no report needs are looked for
_DROP_STEP = 32
_READ_STEP = 1_000
_DAMAGE = {
    sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,  # our statements do not change: they fail on tables that are not ours any more
}

_TABLES = """
CREATE TABLE IF NOT EXISTS epoch (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS layout (number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS report (
  number INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, layout INTEGER NOT NULL, crc INTEGER NOT NULL,
  body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS event (
  number INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, epoch INTEGER NOT NULL, id TEXT NOT NULL, crc INTEGER NOT NULL,
  body BLOB NOT NULL, UNIQUE (epoch, id)
);
CREATE TABLE IF NOT EXISTS dead_letter (
  number INTEGER PRIMARY KEY, epoch TEXT NOT NULL, seq INTEGER NOT NULL, at_ms INTEGER NOT NULL, reason TEXT NOT NULL,
  body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


class Database:
    """All calls come from one thread, and raise SpoolError or SpoolDamaged."""

    def __init__(self, path: Path | None, max_bytes: int, max_age_ms: int) -> None:
        """path None: in memory. Beyond max_bytes the oldest reports are dropped, then the oldest events. lost_commits:
        how many of a damaged log are gone.
        """
        self._max_bytes = max_bytes
        self._max_age_ms = max_age_ms
        self._epochs: dict[str, int] = {}
        self._layouts: dict[bytes, int] = {}
        check_header(path)
        with _translated():
            self._db = sqlite3.connect(
                path or ":memory:", isolation_level=None, check_same_thread=False, timeout=1.0
            )
        self._db.text_factory = partial(str, encoding="utf-8", errors="replace")  # of a name that is damaged
        try:
            with _translated():
                self._prepare(path)
            self.recovered = self.held()
            """What was in it when it was opened. Every row is read for that, so that damage shows now."""
        except SpoolError:
            self._db.close()
            raise

    def _prepare(self, path: Path | None) -> None:
        run = self._db.execute
        # Exclusive: the write-ahead log's index lives on the heap, so that a full disk cannot mean SIGBUS.
        run("PRAGMA locking_mode = EXCLUSIVE")
        version = run("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise SpoolNewer(
                f"was written by a newer agent (format {version}, this one knows {SCHEMA}); to send what is in it, "
                "install that agent again and, while it is stopped, give the file its name back"
            )
        self._page_bytes: int = run("PRAGMA page_size").fetchone()[0]
        self.lost_commits = 0 if path is None else self._lost_commits(path)
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run(f"PRAGMA journal_size_limit = {16 << 20}")
        run("PRAGMA cache_size = -1024")
        self._db.executescript(_TABLES)
        if _schema(self._db) != _expected_schema():
            raise SpoolDamaged("its tables are not those that were made")
        # Else rows of a page that no other leads to are missing, and nobody knows. 0.1 s for 250 MiB.
        ((found,),) = run("PRAGMA integrity_check(1)").fetchall()
        if found != "ok":
            raise SpoolDamaged(f"its pages do not fit together: {found}")
        run(f"PRAGMA user_version = {SCHEMA}")
        with self._transaction():
            self._count(Counters(damaged=self.lost_commits))
        self._forget_unused()

    def _lost_commits(self, path: Path) -> int:
        """Of a damaged log; to be asked before anything is written, which would be into it."""
        _, usable, _ = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        try:
            return lost_commits(path.with_name(f"{path.name}-wal"), self._page_bytes, max(usable, 0))
        except OSError as error:
            raise SpoolError(f"its log cannot be read: {error}") from error

    def _forget_unused(self) -> None:
        """Drop layouts and epochs that nothing needs."""
        run = self._db.execute
        run("DELETE FROM layout WHERE number NOT IN (SELECT layout FROM report)")
        kept = {number >> _SEQ_BITS for number in self._numbers()}
        numbers = [number for (number,) in run("SELECT number FROM epoch ORDER BY number")]
        for number in numbers[:-1]:  # the newest stays: its number must not be given again to a later epoch
            if number not in kept:
                run("DELETE FROM epoch WHERE number = ?", (number,))
        self._epochs = dict(run("SELECT name, number FROM epoch ORDER BY number"))
        self._layouts = self._whole_layouts()

    def _numbers(self) -> Iterator[int]:
        for (number,) in self._db.execute("SELECT number FROM report UNION ALL SELECT number FROM event"):
            yield number

    def held(self) -> dict[str, RangeSet]:
        """Sequence numbers that are in it, oldest epoch first. Reads the whole table."""
        with _translated():
            by_number = {number: RangeSet() for number in self._epochs.values()}
            for row in self._numbers():
                ranges = by_number.get(row >> _SEQ_BITS)
                if ranges is None:
                    raise SpoolDamaged(f"row {row} belongs to no known epoch")
                ranges.add(row & _LAST_SEQ, row & _LAST_SEQ)
            return {name: ranges for name, number in self._epochs.items() if (ranges := by_number[number])}

    def commit(self, commit: Commit, now_ms: int) -> Dropped:
        """All of it or nothing; then drop what exceeds the bounds. now_ms: unix milliseconds."""
        reached(Point.SPOOL_BEFORE_COMMIT)
        with _translated(), self._transaction():
            for item in commit.items:
                self._insert(item)
            reached(Point.SPOOL_BEFORE_TRIM)
            for ranges in commit.trims:
                self._delete(ranges)
            reached(Point.SPOOL_AFTER_TRIM)
            for refusal in commit.refusals:
                self._set_aside(refusal, now_ms)
            dropped = self._bound(now_ms)
            self._count(commit.counted + Counters(dropped_reports=dropped.reports, dropped_events=dropped.events))
        reached(Point.SPOOL_AFTER_COMMIT)
        return dropped

    def counters(self) -> Counters:
        with _translated():
            rows = dict(self._db.execute("SELECT name, value FROM counter"))
        return Counters(*(rows.get(name, 0) for name in Counters._fields))

    def read(self, epoch: str, lo: int, hi: int, max_bytes: int, *, events: bool = False) -> tuple[list[Item], int]:
        """Items lo..hi of an epoch in order, at least one if there is any, and up to which seq this says all.

        events: only the events. What is damaged is removed and counted.
        """
        number = self._epochs.get(epoch)
        if number is None:
            return [], hi
        with _translated():
            rows = self._rows(*_bounds(number, lo, hi), events=events)
            until = rows[-1][0] & _LAST_SEQ if len(rows) == _READ_STEP else hi
            layouts: dict[bytes | None, pb.Layout | None] = {None: None}
            found: list[Item] = []
            size = 0
            for row, time_ms, layout, event, crc, body in rows:
                if found and size + len(body) > max_bytes:
                    return found, (row & _LAST_SEQ) - 1
                if layout not in layouts:
                    layouts[layout] = _parsed(layout)
                known = layouts[layout]
                meaning = event.encode() if known is None else known.hash
                right = crc in (sealed(epoch, meaning, body), crc32(body))  # the latter in format 1
                if not meaning or not right or _seq(body, event) != row & _LAST_SEQ:
                    self._remove_damaged(row)
                    continue
                size += len(body)
                found.append(Item(epoch, row & _LAST_SEQ, time_ms, body, layouts[layout], event))
            return found, until

    def _rows(self, first: int, last: int, *, events: bool) -> list[tuple[int, int, bytes | None, str, int, bytes]]:
        of_events = "SELECT number, time_ms, NULL, id, crc, body FROM event WHERE number BETWEEN ?1 AND ?2"
        of_reports = (
            "SELECT report.number, time_ms, layout.body, '', crc, report.body FROM report "
            "LEFT JOIN layout ON layout.number = report.layout WHERE report.number BETWEEN ?1 AND ?2"
        )
        query = of_events if events else f"{of_reports} UNION ALL {of_events}"
        return self._db.execute(f"{query} ORDER BY 1 LIMIT {_READ_STEP}", (first, last)).fetchall()

    def _remove_damaged(self, row: int) -> None:
        with self._transaction():
            self._db.execute("DELETE FROM report WHERE number = ?", (row,))
            self._db.execute("DELETE FROM event WHERE number = ?", (row,))
            self._count(Counters(damaged=1))

    def _insert(self, item: Item) -> None:
        epoch = self._epoch(item.epoch)
        row = (epoch << _SEQ_BITS) + item.seq
        if item.layout is None:
            self._db.execute(
                "INSERT OR REPLACE INTO event (number, time_ms, epoch, id, crc, body) VALUES (?, ?, ?, ?, ?, ?)",
                (row, item.time_ms, epoch, item.event, sealed(item.epoch, item.event.encode(), item.body), item.body),
            )
        else:
            self._db.execute(
                "INSERT OR REPLACE INTO report (number, time_ms, layout, crc, body) VALUES (?, ?, ?, ?, ?)",
                (
                    row, item.time_ms, self._layout(item.layout), sealed(item.epoch, item.layout.hash, item.body),
                    item.body,
                ),
            )

    def _epoch(self, name: str) -> int:
        number = self._epochs.get(name)
        if number is None:
            number = max(self._epochs.values(), default=0) + 1
            self._db.execute("INSERT INTO epoch (number, name) VALUES (?, ?)", (number, name))
            self._epochs[name] = number
        return number

    def _layout(self, layout: pb.Layout) -> int:
        number = self._layouts.get(layout.hash)
        if number is None:
            if len(self._layouts) >= _LAYOUTS:
                self._db.execute("DELETE FROM layout WHERE number NOT IN (SELECT layout FROM report)")
                self._layouts = self._whole_layouts()
            number = next(n for n in count(1) if n not in self._layouts.values())
            self._db.execute(
                "INSERT OR REPLACE INTO layout (number, hash, body) VALUES (?, ?, ?)",  # in the place of a damaged one
                (number, layout.hash, layout.SerializeToString()),
            )
            self._layouts[layout.hash] = number
        return number

    def _whole_layouts(self) -> dict[bytes, int]:
        """Numbers by hash; none that is damaged, or new reports would be stored with it and not be read again."""
        rows = self._db.execute("SELECT number, hash, body FROM layout")
        return {name: number for number, name, body in rows if (known := _parsed(body)) and known.hash == name}

    def _delete(self, ranges: Ranges) -> None:
        for epoch, pairs in ranges.items():
            number = self._epochs.get(epoch)
            if number is None:
                continue
            for lo, hi in pairs:
                bounds = _bounds(number, lo, hi)
                self._db.execute("DELETE FROM report WHERE number BETWEEN ? AND ?", bounds)
                self._db.execute("DELETE FROM event WHERE number BETWEEN ? AND ?", bounds)

    def _set_aside(self, refusal: Refused, now_ms: int) -> None:
        for epoch, pairs in refusal.ranges.items():
            number = self._epochs.get(epoch)
            if number is None:
                continue
            for lo, hi in pairs:
                bounds = _bounds(number, lo, hi)
                moved = 0
                for table in ("report", "event"):
                    moved += self._db.execute(
                        "INSERT INTO dead_letter (epoch, seq, at_ms, reason, body) "
                        f"SELECT ?, number & {_LAST_SEQ}, ?, ?, body FROM {table} WHERE number BETWEEN ? AND ?",
                        (epoch, now_ms, refusal.reason, *bounds),
                    ).rowcount
                self._count(Counters(refused=moved))
        self._delete(refusal.ranges)
        self._db.execute(
            "DELETE FROM dead_letter WHERE number <= (SELECT max(number) FROM dead_letter) - ?", (_DEAD_LETTERS,)
        )

    def _bound(self, now_ms: int) -> Dropped:
        """What nobody waits for goes first, what happened goes last."""
        if self._used_bytes() > self._max_bytes:
            self._db.execute("DELETE FROM dead_letter")
        dropped = Dropped()
        oldest_ms = now_ms - self._max_age_ms
        for table in ("report", "event"):
            while True:
                full = self._used_bytes() > self._max_bytes
                rows = self._oldest(table, _DROP_STEP if full else 1)
                gone = [row for row, time_ms in rows if full or time_ms < oldest_ms]
                if not gone:
                    break
                self._db.execute(f"DELETE FROM {table} WHERE number BETWEEN ? AND ?", (gone[0], gone[-1]))
                dropped += self._dropped(table, gone)
        return dropped

    def _oldest(self, table: str, limit: int) -> list[tuple[int, int]]:
        return self._db.execute(f"SELECT number, time_ms FROM {table} ORDER BY number LIMIT {limit}").fetchall()

    def _dropped(self, table: str, rows: list[int]) -> Dropped:
        names = {number: name for name, number in self._epochs.items()}
        ranges: dict[str, RangeSet] = {}
        for row in rows:
            seq = row & _LAST_SEQ
            ranges.setdefault(names[row >> _SEQ_BITS], RangeSet()).add(seq, seq)
        return Dropped(ranges, **{f"{table}s": len(rows)})

    def _used_bytes(self) -> int:
        pages: int = self._db.execute("PRAGMA page_count").fetchone()[0]
        free: int = self._db.execute("PRAGMA freelist_count").fetchone()[0]
        return (pages - free) * self._page_bytes

    def _count(self, counters: Counters) -> None:
        for name, value in counters._asdict().items():
            if value:
                self._db.execute("INSERT OR IGNORE INTO counter (name, value) VALUES (?, 0)", (name,))
                self._db.execute("UPDATE counter SET value = value + ? WHERE name = ?", (value, name))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        epochs, layouts = dict(self._epochs), dict(self._layouts)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._epochs, self._layouts = epochs, layouts
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def copy_to(self, path: Path) -> None:
        """All that it holds, into a file that is not there yet."""
        with _translated():
            self._db.execute("VACUUM INTO ?", (str(path),))

    def close(self) -> None:
        with _translated():
            self._db.close()


def _bounds(epoch: int, lo: int, hi: int) -> tuple[int, int]:
    """Rows of an epoch's lo..hi; a collector may name any 64-bit number."""
    base = epoch << _SEQ_BITS
    return base + min(lo, _LAST_SEQ), base + min(hi, _LAST_SEQ)


def _parsed(layout: bytes | None) -> pb.Layout | None:
    """None: not a layout that hashes to its name."""
    try:
        parsed = pb.Layout.FromString(layout or b"")
    except DecodeError:
        return None
    return parsed if layout_hash(parsed.blocks) == parsed.hash else None


def _seq(body: bytes, event: str) -> int:
    """The number that a report or event bears: a flipped bit of a row's own number would make it another one."""
    return pb.Event.FromString(body).seq if event else pb.Report.FromString(body).seq


def _schema(database: sqlite3.Connection) -> list[tuple[object, ...]]:
    return database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


@cache
def _expected_schema() -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(_TABLES)
        return _schema(fresh)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (TypeError, UnicodeDecodeError) as error:  # a column or, of a schema, even SQLite's own message
        raise SpoolDamaged(f"what is in it is not what was put there: {error}") from error
    except sqlite3.Error as error:
        if (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGE:
            raise SpoolDamaged(str(error)) from error
        raise SpoolError(str(error)) from error
