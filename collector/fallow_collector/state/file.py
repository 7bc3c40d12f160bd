"""Opening the collector's small durable files: one owner of their folder, the right schema, and a damaged file put
aside instead of a crash.

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
from typing import NamedTuple

from fallow_collector.state import before
from fallow_proto.durable import expect_own, expect_writable, reread

RESTORING = "restoring"
"""The folder in the state folder in which a restore prepares what it puts there."""

KEPT_DAMAGED = 3
"""Damaged files that stay beside the new one for whoever wants to look; older ones are removed."""

log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """A file of the state folder. The schema that SQLite's user_version names is the number of migrations done."""

    name: str
    migrations: tuple[tuple[str, ...], ...]  # statements that lead from each schema to the next
    lost: str  # with its content: what, and what to do about it


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
    if (directory / RESTORING).exists():
        os.close(descriptor)
        raise StateError(
            f"a restore into {directory} was interrupted, and what is there is not whole; empty the folder, and "
            f"restore again"
        )
    return descriptor


def connect(directory: Path, kind: Kind) -> tuple[sqlite3.Connection, Path | None]:
    """The file, new if there is none, and where a damaged one was put. Raises StateError."""
    path = directory / kind.name
    try:
        expect_own(*_parts(path))
    except OSError as error:
        raise StateError(str(error)) from error
    try:
        try:
            return _open(path, kind), None
        except sqlite3.DatabaseError as error:
            _expect_damage(error)
        reread(*_parts(path))
        try:
            return _open(path, kind), None
        except sqlite3.DatabaseError as error:
            _expect_damage(error)
            aside = _put_aside(path)
            log.error("state file was damaged path=%s moved_to=%s error=%s lost=%r", path, aside, error, kind.lost)
        return _open(path, kind), aside
    except (sqlite3.Error, OSError) as error:
        raise StateError(f"{path} cannot be opened: {error}; check the disk and the folder's owner") from error


def _expect_damage(error: sqlite3.DatabaseError) -> None:
    if not _is_damage(error):
        raise error


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file's content is at fault; a full disk or missing rights are not cured by a new file."""
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")) or not name


def _open(path: Path, kind: Kind) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # NORMAL loses what was committed when the power fails
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"quick_check says {verdict}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        schema = len(kind.migrations)
        if version > schema:
            raise StateNewer(
                f"{path} has schema {version}, expected {schema} or older: a newer Fallow wrote it; install that "
                f"version, or move the file away to start without its content"
            )
        if 0 < version < schema:
            _keep_before(connection, path, version)
        expect_writable(connection)
        if version < schema:
            connection.execute("BEGIN IMMEDIATE")
            for migration in kind.migrations[version:]:
                for statement in migration:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {schema}")
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    path.chmod(0o600)
    return connection


def _keep_before(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Raises StateError: without a way back nothing is migrated."""
    try:
        copy = before.keep(connection, path, version)
    except (sqlite3.Error, OSError) as error:
        raise StateError(
            f"{path} is of schema {version}, and cannot be copied before it is migrated: {error}; make room on its disk"
        ) from error
    log.info("state file is migrated path=%s from_schema=%d copy=%s", path, version, copy)


def _put_aside(path: Path) -> Path:
    """Rename the file and what SQLite keeps beside it; it must not replay the damaged one's log into a new one."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    for part, place in zip(_parts(path), _parts(aside), strict=True):
        if part.exists():
            part.rename(place)
    damaged = path.parent.glob(f"{path.name}.damaged-*")
    earlier = sorted(file for file in damaged if not file.name.endswith(("-wal", "-shm")))
    for old in earlier[:-KEPT_DAMAGED]:
        for part in _parts(old):
            part.unlink(missing_ok=True)
    return aside


def _parts(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
