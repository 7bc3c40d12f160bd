"""alerts.sqlite: alerts, what each receiver was told, the outbox, silences, dead letters and the clock, on disk when a
call returns."""

import sqlite3
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from fallow_collector.alerts.alert import Alert
from fallow_collector.alerts.changes import Attempts, Changes, DeadMark, Table
from fallow_collector.alerts.group import Sending, Told
from fallow_collector.alerts.silences import Silence
from fallow_collector.state.file import Kind, StateError, connect
from fallow_proto.failpoint import Point, reached

FILE = Kind(
    "alerts.sqlite",
    ((
        *(f"CREATE TABLE {table} (key TEXT PRIMARY KEY, row BLOB NOT NULL) STRICT, WITHOUT ROWID" for table in Table),
        "CREATE TABLE clock (only INTEGER PRIMARY KEY CHECK (only = 0), shows_s REAL NOT NULL) STRICT",
        "INSERT INTO clock VALUES (0, 0.0)",
    ),),
    lost="alerts, what receivers were told of them, undelivered notifications, silences: what fires is told anew, and "
         "silences must be made again",
)

Row = TypeVar("Row", bound=msgspec.Struct)


class Kept(NamedTuple):
    """clock_s: what the alerts' clock showed when it was kept last."""

    alerts: dict[str, Alert]
    told: dict[str, Told]
    outbox: dict[str, Sending]
    attempts: dict[str, Attempts]
    silences: dict[str, Silence]
    dead: dict[str, DeadMark]
    clock_s: float


class AlertFile:
    """In a folder that this process alone uses (State holds its lock). One thread at a time."""

    def __init__(self, directory: Path) -> None:
        """Open or make it. Raises StateError."""
        self._connection, self.damaged = connect(directory, FILE)  # damaged: where a damaged file was put
        self._path = directory / FILE.name

    def close(self) -> None:
        self._connection.close()

    def load(self) -> Kept:
        """Raises StateError."""
        try:
            ((clock_s,),) = self._connection.execute("SELECT shows_s FROM clock")
            return Kept(
                self._rows(Table.ALERTS, Alert), self._rows(Table.TOLD, Told), self._rows(Table.OUTBOX, Sending),
                self._rows(Table.ATTEMPTS, Attempts), self._rows(Table.SILENCES, Silence),
                self._rows(Table.DEAD, DeadMark), clock_s,
            )
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise StateError(
                f"{self._path} cannot be read: {error}; move it away to start without it: what fires is then told anew"
            ) from error

    def write(self, changes: Changes, clock_s: float) -> None:
        """All of it or, when it raises StateError, nothing."""
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                for table, rows in changes.rows.items():
                    put = [(key, msgspec.json.encode(row)) for key, row in rows.items() if row is not None]
                    gone = [(key,) for key, row in rows.items() if row is None]
                    self._connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", put)
                    self._connection.executemany(f"DELETE FROM {table} WHERE key = ?", gone)
                self._connection.execute("UPDATE clock SET shows_s = ?", (clock_s,))
                reached(Point.ALERTS_BEFORE_COMMIT)
            reached(Point.ALERTS_AFTER_COMMIT)
        except sqlite3.Error as error:
            raise StateError(f"alerts cannot be kept: {error}; check the disk of [state] dir") from error

    def _rows(self, table: Table, kind: type[Row]) -> dict[str, Row]:
        decoder = msgspec.json.Decoder(kind)
        return {key: decoder.decode(row) for key, row in self._connection.execute(f"SELECT key, row FROM {table}")}
