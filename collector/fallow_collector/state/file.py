"""Opening the state file: one owner, the right schema, and a damaged file put aside instead of a crash.

    StateError
    ├── StateInUse   another collector has it
    └── StateNewer   a newer version of Fallow wrote it
"""

import fcntl
import logging
import os
import sqlite3
import time
from pathlib import Path

from fallow_collector.state.rows import Tables

SCHEMA = 2
"""Kept in SQLite's user_version; raised together with a migration."""

KEPT_DAMAGED = 3
"""Damaged files that stay beside the new one for whoever wants to look; older ones are removed."""

NAME = "state.sqlite"

log = logging.getLogger(__name__)


class StateError(Exception):
    """The state cannot be used; the message says why and what to do."""


class StateInUse(StateError):
    pass


class StateNewer(StateError):
    pass


def lock(directory: Path) -> int:
    """Own the state folder for as long as the returned descriptor is open. Raises StateError."""
    path = directory / "lock"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateError(
            f"[state] dir = {str(directory)!r} cannot be written: {error.strerror}; expected a folder of the user that "
            f"the collector runs as"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StateInUse(f"{path} is locked: another collector uses this state folder; stop it first") from error
    return descriptor


def connect(directory: Path) -> tuple[sqlite3.Connection, Path | None]:
    """The state file, new if there is none, and where a damaged one was put. Raises StateError."""
    path = directory / NAME
    try:
        return _open(path), None
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise StateError(f"{path} cannot be opened: {error}; check the disk and the folder's owner") from error
        aside = _put_aside(path)
        log.error(
            "state file was damaged path=%s moved_to=%s error=%s lost=%s",
            path, aside, error, "baselines, declared and seen devices, events: declare the inventory again",
        )
        try:
            return _open(path), aside
        except sqlite3.DatabaseError as again:
            raise StateError(f"{path} cannot be made: {again}; check the disk") from again


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file's content is at fault; a full disk or missing rights are not cured by a new file."""
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")) or not name


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # NORMAL loses what was committed when the power fails
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"quick_check says {verdict}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise StateNewer(
                f"{path} has schema {version}, expected {SCHEMA} or older: a newer Fallow wrote it; install that "
                f"version, or move the file away to start without its content"
            )
        if version < SCHEMA:
            connection.execute("BEGIN IMMEDIATE")
            for definition in (*(Tables.DEFINITIONS if version == 0 else ()), *Tables.SINCE_2):
                connection.execute(definition)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    path.chmod(0o600)
    return connection


def _put_aside(path: Path) -> Path:
    """Rename the file and what SQLite keeps beside it; it must not replay the damaged one's log into a new one."""
    aside = path.with_name(f"{NAME}.damaged-{time.time_ns()}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    earlier = sorted(file for file in path.parent.glob(f"{NAME}.damaged-*") if not file.name.endswith(("-wal", "-shm")))
    for old in earlier[:-KEPT_DAMAGED]:
        for suffix in ("", "-wal", "-shm"):
            old.with_name(old.name + suffix).unlink(missing_ok=True)
    return aside
