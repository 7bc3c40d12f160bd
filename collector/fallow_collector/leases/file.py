"""leases.sqlite: every lease, the last fencing token and the ledger's clock, on disk when a call returns."""

import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from fallow_collector.leases.rows import LeaseRow
from fallow_collector.state.file import Kind, StateError, connect
from fallow_proto.failpoint import Point, reached

FILE = Kind(
    "leases.sqlite",
    ((
        """CREATE TABLE leases (
          lease_id TEXT PRIMARY KEY, caller TEXT NOT NULL, holder TEXT NOT NULL, token INTEGER NOT NULL,
          state TEXT NOT NULL, ttl_s REAL NOT NULL, until REAL, made REAL NOT NULL, began REAL, devices TEXT NOT NULL,
          short INTEGER NOT NULL, why TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE ledger (
          only INTEGER PRIMARY KEY CHECK (only = 0), last_token INTEGER NOT NULL, clock REAL NOT NULL
        ) STRICT""",
        "INSERT INTO ledger VALUES (0, 0, 0.0)",
    ),),
    lost="all leases: their holders must reserve anew; nodes that report that a device is held keep it from others",
)

_COLUMNS = ", ".join(LeaseRow._fields)
_PUT = f"INSERT OR REPLACE INTO leases ({_COLUMNS}) VALUES ({', '.join('?' * len(LeaseRow._fields))})"


class Standing(NamedTuple):
    """What the ledger keeps beside its leases. clock: what its clock shows, in seconds."""

    last_token: int
    clock: float


class LeaseFile:
    """In a folder that this process alone uses (State holds its lock). One thread at a time."""

    def __init__(self, directory: Path) -> None:
        """Open or make it. Raises StateError."""
        self._connection, self.damaged = connect(directory, FILE)  # damaged: where a damaged file was put

    def close(self) -> None:
        self._connection.close()

    def load(self) -> tuple[list[LeaseRow], Standing]:
        """Raises StateError."""
        try:
            rows = [LeaseRow(*row) for row in self._connection.execute(f"SELECT {_COLUMNS} FROM leases")]
            (standing,) = self._connection.execute("SELECT last_token, clock FROM ledger")
        except sqlite3.Error as error:
            raise StateError(f"the file of leases cannot be read: {error}") from error
        return rows, Standing(*standing)

    def write(self, rows: Collection[LeaseRow], forgotten: Collection[str], standing: Standing) -> None:
        """All of it or, when it raises StateError, nothing."""
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(_PUT, rows)
                self._connection.executemany("DELETE FROM leases WHERE lease_id = ?", [(each,) for each in forgotten])
                self._connection.execute("UPDATE ledger SET last_token = ?, clock = ?", standing)
                reached(Point.LEASES_BEFORE_COMMIT)
            reached(Point.LEASES_AFTER_COMMIT)
        except sqlite3.Error as error:
            raise StateError(f"leases cannot be kept: {error}; check the disk of [state] dir") from error
