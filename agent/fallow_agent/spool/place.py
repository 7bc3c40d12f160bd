"""Whether a file that is open is still the one at its path.

SQLite goes on in one that was removed, and whatever is committed to it ends with the process.
"""

from pathlib import Path
from typing import NamedTuple


class Identity(NamedTuple):
    device: int
    inode: int


def identity(path: Path) -> Identity | None:
    """Of the file that is there now; None: it cannot be told."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Identity(found.st_dev, found.st_ino)


def is_in_place(path: Path, file: Identity | None) -> bool:
    """In doubt it is: a disk in trouble says so when it is written to."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return file is None or file == (found.st_dev, found.st_ino)
