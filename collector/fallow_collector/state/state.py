"""What the collector remembers over a restart. Any thread may call; a call that changes something is on disk when it
returns.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from fallow_collector.series import Source
from fallow_collector.state.file import Kind, StateError, connect, lock
from fallow_collector.state.rows import (
    KEYS,
    OWN_EVENT,
    BaselineRow,
    BootRow,
    ConditionRow,
    CordonRow,
    EventRow,
    OwnedRow,
    Row,
    SeenRow,
    Tables,
)

EVENTS_KEPT = 500_000
"""Newest events that stay; with the message some 200 bytes each, so about 100 MB."""

PRUNE_EVERY = 10_000

FILE = Kind(
    "state.sqlite", (Tables.DEFINITIONS, Tables.SINCE_2, Tables.SINCE_3, Tables.SINCE_4),
    lost="baselines, declared and seen devices, cordons, events: declare the inventory again, and cordon again",
)

AnyRow = TypeVar("AnyRow", BaselineRow, SeenRow, EventRow, CordonRow, OwnedRow, BootRow, ConditionRow)


class State:
    """state.sqlite in a folder that this process alone uses."""

    def __init__(self, directory: Path, events_kept: int = EVENTS_KEPT) -> None:
        """Open or make it. Raises StateError."""
        self._events_kept = events_kept
        self._lock = threading.Lock()
        self._owner = lock(directory)
        try:
            self._connection, self.damaged = connect(directory, FILE)  # damaged: where a damaged file was put
        except BaseException:
            os.close(self._owner)
            raise
        self._unpruned = PRUNE_EVERY

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            os.close(self._owner)

    def load_baselines(self) -> list[BaselineRow]:
        return self._load(BaselineRow)

    def save_baselines(self, rows: Iterable[BaselineRow]) -> None:
        """Add them, or replace those of the same uuid."""
        self._save(BaselineRow, rows)

    def load_seen(self) -> list[SeenRow]:
        return self._load(SeenRow)

    def save_seen(self, rows: Iterable[SeenRow]) -> None:
        self._save(SeenRow, rows)

    def load_cordons(self) -> list[CordonRow]:
        return self._load(CordonRow)

    def save_cordons(self, rows: Iterable[CordonRow], lifted: Iterable[str] = ()) -> None:
        """Add or replace them, and forget the lifted ones, in one."""
        with self._transaction() as connection:
            connection.executemany(_upsert(CordonRow), rows)
            connection.executemany("DELETE FROM cordons WHERE cordon_id = ?", [(cordon,) for cordon in lifted])

    def load_owned(self) -> list[OwnedRow]:
        return self._load(OwnedRow)

    def replace_owned(self, ledger: str, rows: Iterable[OwnedRow]) -> None:
        """These are now all nodes of a ledger."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM owned WHERE ledger = ?", (ledger,))
            connection.executemany(_upsert(OwnedRow), rows)

    def save_owned(self, row: OwnedRow) -> None:
        self._save(OwnedRow, [row])

    def load_boots(self) -> list[BootRow]:
        return self._load(BootRow)

    def load_conditions(self) -> list[ConditionRow]:
        return self._load(ConditionRow)

    def save_health(
        self, boots: Iterable[BootRow], conditions: Iterable[ConditionRow], over: Iterable[ConditionRow]
    ) -> None:
        """Add or replace boots and conditions, and forget those that are over, in one."""
        with self._transaction() as connection:
            connection.executemany(_upsert(BootRow), boots)
            connection.executemany(_upsert(ConditionRow), conditions)
            connection.executemany(
                "DELETE FROM conditions WHERE rule = ? AND device = ?", [(row.rule, row.device) for row in over]
            )

    def retire(self, uuid: str) -> None:
        """Forget a device and what was learned of it. Its events stay."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM seen WHERE uuid = ?", (uuid,))
            connection.execute("DELETE FROM baselines WHERE uuid = ?", (uuid,))

    def record(self, rows: Sequence[EventRow]) -> None:
        """Add events, or replace those of the same node, epoch and id by a higher number."""
        with self._transaction() as connection:
            connection.executemany(f"{_upsert(EventRow)} WHERE excluded.seq >= events.seq", rows)
            self._unpruned += len(rows)
            if self._unpruned >= PRUNE_EVERY:
                self._unpruned = 0
                connection.execute(
                    "DELETE FROM events WHERE rowid IN "
                    "(SELECT rowid FROM events ORDER BY last_ms DESC LIMIT -1 OFFSET ?)",
                    (self._events_kept,),
                )

    def event_numbers(self) -> list[tuple[Source, int]]:
        """Whose event and its number, of every event of an agent that is kept: what they need not send again."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT node, epoch, seq FROM events WHERE id NOT GLOB ?", (f"{OWN_EVENT}*",)
            )
            return [(Source(node, epoch), seq) for node, epoch, seq in found]

    def events_of(self, device: str, limit: int) -> list[EventRow]:
        """The newest events of a device, newest first."""
        with self._reading() as connection:
            found = connection.execute(
                f"SELECT {', '.join(EventRow._fields)} FROM events WHERE device = ? ORDER BY last_ms DESC LIMIT ?",
                (device, limit),
            )
            return [EventRow(*row) for row in found]

    def events_since(self, last_ms: int, kinds: Sequence[str], limit: int) -> list[EventRow]:
        """The newest events of these kinds that were last seen then or later, oldest first."""
        with self._reading() as connection:
            found = connection.execute(
                f"SELECT {', '.join(EventRow._fields)} FROM events WHERE last_ms >= ? "
                f"AND kind IN ({', '.join('?' * len(kinds))}) ORDER BY last_ms DESC LIMIT ?",
                (last_ms, *kinds, limit),
            )
            return [EventRow(*row) for row in found][::-1]

    def events_between(self, device: str, start_ms: int, end_ms: int, limit: int) -> list[EventRow]:
        """The newest events of a device that were last seen from start to before end, newest first."""
        with self._reading() as connection:
            found = connection.execute(
                f"SELECT {', '.join(EventRow._fields)} FROM events WHERE device = ? AND last_ms >= ? AND last_ms < ? "
                "ORDER BY last_ms DESC LIMIT ?",
                (device, start_ms, end_ms, limit),
            )
            return [EventRow(*row) for row in found]

    def _load(self, kind: type[AnyRow]) -> list[AnyRow]:
        with self._reading() as connection:
            found = connection.execute(f"SELECT {', '.join(kind._fields)} FROM {Tables.NAMES[kind]}")
            return [kind(*row) for row in found]

    def _save(self, kind: type[AnyRow], rows: Iterable[AnyRow]) -> None:
        with self._transaction() as connection:
            connection.executemany(_upsert(kind), rows)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._connection
        except sqlite3.Error as error:
            raise StateError(f"the state file cannot be read: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock, self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
        except sqlite3.Error as error:
            raise StateError(f"the state file cannot be written: {error}; check the disk's free space") from error


def _upsert(kind: type[Row]) -> str:
    fields, keys = kind._fields, kind._fields[: KEYS[kind]]
    changes = ", ".join(f"{field} = excluded.{field}" for field in fields[KEYS[kind] :])
    return (
        f"INSERT INTO {Tables.NAMES[kind]} ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))}) "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"
    )
