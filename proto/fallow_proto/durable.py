"""Files that must be there whole, whatever happens in between: a power cut leaves the old one or the new one."""

import errno
import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path

_PIECE_BYTES = 1 << 20
_KINDS = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link"}


def replace(path: Path, content: bytes, *, mode: int) -> None:
    """Put a file there, with these permissions whatever the umask. Raises OSError.

    Written aside, synced, renamed, and the folder synced: without the last the rename itself is lost when the power
    fails (seen on ext4).
    """
    aside = path.with_name(f".{path.name}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names durable: without it a power cut may undo a creation or a rename. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reread(*paths: Path) -> None:
    """Read all of these files, as far as they are there, before they are believed to be damaged: to a database, a disk
    or a process in trouble for a moment looks like damage, and it should look once more after this. Raises OSError for
    what is no fault of the files, such as too many open ones; a sector that cannot be read is damage (EIO)."""
    for path in paths:
        try:
            with suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
                while file.read(_PIECE_BYTES):
                    pass
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EISDIR):
                raise


def expect_writable(database: sqlite3.Connection) -> None:
    """What SQLite cannot open for writing at this moment it opens for reading only, for good, and says nothing. Writes
    nothing itself, so that a full disk is no matter. In autocommit mode; raises sqlite3.OperationalError."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    database.execute("BEGIN IMMEDIATE")
    try:
        database.execute(f"PRAGMA user_version = {version}")
    finally:
        database.execute("ROLLBACK")


def expect_own(*paths: Path, folder: bool = False) -> None:
    """What is there is a file, or a folder, of the user that this process runs as. Raises OSError that says what was
    found: a link that somebody planted would lead what is written to where only this user may write."""
    for path in paths:
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        expected = stat.S_IFDIR if folder else stat.S_IFREG
        if (kind := stat.S_IFMT(found.st_mode)) != expected:
            is_a = _KINDS.get(kind, "a device or socket")
            raise OSError(f"{path} is {is_a}, expected {_KINDS[expected]} or nothing: move it away")
        if found.st_uid != os.geteuid():
            raise OSError(
                f"{path} belongs to user {found.st_uid}, and this runs as {os.geteuid()}: start it as its user, or "
                f"change the owner of the whole folder"
            )
