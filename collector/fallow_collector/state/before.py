"""A copy of a state file as it was before a migration: the way back to the version of Fallow that wrote it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from fallow_proto.durable import sync_folder

KEPT = 3
"""Copies that stay beside a file, those of the newest schemas; older ones are removed."""


def keep(connection: sqlite3.Connection, path: Path, schema: int) -> Path:
    """Copy the file as it is now; where to. On disk for good when it returns. Raises sqlite3.Error, OSError."""
    copy = path.with_name(f"{path.name}.schema-{schema}")
    copy_whole(connection, aside := path.with_name(f"{path.name}.schema-new"))
    aside.rename(copy)
    sync_folder(path.parent)
    for old in sorted(path.parent.glob(f"{path.name}.schema-[0-9]*"), key=_schema)[:-KEPT]:
        old.unlink()
    return copy


def copy_whole(connection: sqlite3.Connection, target: Path) -> None:
    """All that is committed, as one file that needs nothing beside it, whoever else writes to the source meanwhile.
    Raises sqlite3.Error, OSError."""
    target.unlink(missing_ok=True)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(target)) as copied:
        connection.backup(copied)
        # As WAL, which the source's header says, it would get files beside it whenever somebody looks into it.
        copied.execute("PRAGMA journal_mode = DELETE")
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _schema(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
