"""certs.sqlite: authorities with their keys, every leaf, what was revoked, and the hashes of join tokens.

The collector and `fallow-collector certs` have it open at the same time, so it has no lock of its own: what reads and
then writes does so in one transaction.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fallow_collector.certs.errors import CertsError
from fallow_collector.certs.revocations import Revocations
from fallow_collector.certs.rows import InUse, Join, Kind, Leaf, Listed, Root
from fallow_collector.state.file import Kind as FileKind
from fallow_collector.state.file import connect

NAME = "certs.sqlite"
KEPT_S = 90 * 86_400
"""For which leaves, tokens and revocations stay to be looked at when they are over."""

FILE = FileKind(
    NAME,
    ((
        """CREATE TABLE roots (
          serial TEXT PRIMARY KEY, made INTEGER NOT NULL, ends INTEGER NOT NULL, certificate TEXT NOT NULL,
          key TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE leaves (
          serial TEXT PRIMARY KEY, root TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, made INTEGER NOT NULL,
          begins INTEGER NOT NULL, ends INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX leaves_by_name ON leaves (name, ends)",
        "CREATE TABLE revoked (serial TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        "CREATE TABLE revoked_nodes (node TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        """CREATE TABLE joins (
          hash TEXT NOT NULL, node TEXT NOT NULL, ends INTEGER NOT NULL, used INTEGER, PRIMARY KEY (hash, node)
        ) STRICT, WITHOUT ROWID""",
    ),),
    lost="the authority with its key, and which certificates were revoked: bring the file back from a backup",
)

_LIVE = "SELECT {} FROM leaves WHERE ends > ? AND serial NOT IN (SELECT serial FROM revoked)"


class CertsFile:
    """One thread at a time is in it."""

    def __init__(self, directory: Path) -> None:
        """Open or make it. Raises StateError."""
        path = directory / NAME
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # SQLite's own files beside it get the same
        self._lock = threading.RLock()
        self._connection, self.damaged = connect(directory, FILE)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing. Raises CertsError."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise CertsError(f"{NAME} cannot be written: {error}; check the disk of [state] dir") from error

    @property
    def version(self) -> int:
        """Another one than before: another process has changed something."""
        (version,) = self._query("PRAGMA data_version")[0]
        return int(version)

    def roots(self) -> list[Root]:
        """Oldest first."""
        return [Root(*row) for row in self._query(f"SELECT {', '.join(Root._fields)} FROM roots ORDER BY made, rowid")]

    def add_root(self, root: Root) -> None:
        self._query("INSERT INTO roots VALUES (?, ?, ?, ?, ?)", *root)

    def add_leaf(self, leaf: Leaf) -> None:
        """And forget what has been over for long."""
        self._query("INSERT INTO leaves VALUES (?, ?, ?, ?, ?, ?, ?)", *leaf)
        over = leaf.made - KEPT_S
        self._query("DELETE FROM revoked WHERE serial IN (SELECT serial FROM leaves WHERE ends < ?)", over)
        self._query("DELETE FROM leaves WHERE ends < ?", over)
        self._query("DELETE FROM joins WHERE ends < ?", over)

    def in_use(self, now: float) -> InUse:
        roots = self._query(f"{_LIVE.format('root, min(made)')} AND kind = 'agent' GROUP BY root", now)
        columns = ", ".join(Leaf._fields)
        mine = self._query(f"{_LIVE.format(columns)} AND kind = 'collector' ORDER BY made DESC LIMIT 1", now)
        return InUse(
            frozenset(root for root, _ in roots), min((made for _, made in roots), default=None),
            _leaf(mine[0]) if mine else None,
        )

    def live_of(self, name: str, now: float) -> list[Leaf]:
        """Neither over nor revoked."""
        rows = self._query(f"{_LIVE.format(', '.join(Leaf._fields))} AND name = ?", now, name)
        return [_leaf(row) for row in rows]

    def leaf(self, serial: str) -> Leaf | None:
        rows = self._query(f"SELECT {', '.join(Leaf._fields)} FROM leaves WHERE serial = ?", serial)
        return _leaf(rows[0]) if rows else None

    def listed(self) -> list[Listed]:
        """Every leaf that is kept, by name and age."""
        columns = ", ".join(f"leaves.{field}" for field in Leaf._fields)
        rows = self._query(
            f"SELECT {columns}, revoked.at FROM leaves LEFT JOIN revoked USING (serial) ORDER BY name, made"
        )
        return [Listed(_leaf(row[:-1]), row[-1]) for row in rows]

    def revoke(self, serials: Iterable[str], at: int) -> None:
        for serial in serials:
            self._query("INSERT INTO revoked VALUES (?, ?) ON CONFLICT DO NOTHING", serial, at)

    def revoke_node(self, node: str, at: int) -> None:
        """Its tokens too."""
        self._query("INSERT OR REPLACE INTO revoked_nodes VALUES (?, ?)", node, at)
        self._query("DELETE FROM joins WHERE node = ? AND used IS NULL", node)

    def revocations(self) -> Revocations:
        serials = frozenset(serial for (serial,) in self._query("SELECT serial FROM revoked"))
        return Revocations(serials, dict(self._query("SELECT node, at FROM revoked_nodes")))

    def add_joins(self, digest: str, nodes: Iterable[str], ends: int) -> None:
        for node in nodes:
            self._query("INSERT INTO joins VALUES (?, ?, ?, NULL)", digest, node, ends)

    def join(self, digest: str, node: str) -> tuple[bool, Join | None]:
        """Whether the token is known, and what it may do for the node."""
        rows = self._query("SELECT ends, used FROM joins WHERE hash = ? AND node = ?", digest, node)
        known = bool(rows or self._query("SELECT 1 FROM joins WHERE hash = ? LIMIT 1", digest))
        return known, Join(*rows[0]) if rows else None

    def use_join(self, digest: str, node: str, at: int) -> None:
        self._query("UPDATE joins SET used = ? WHERE hash = ? AND node = ?", at, digest, node)

    def _query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise CertsError(f"{NAME} cannot be used: {error}; check the disk of [state] dir") from error


def _leaf(row: tuple[Any, ...]) -> Leaf:
    serial, root, kind, name, made, begins, ends = row
    return Leaf(serial, root, Kind(kind), name, made, begins, ends)
