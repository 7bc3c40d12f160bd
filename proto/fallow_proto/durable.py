"""Files that must be there whole, whatever happens in between: a power cut leaves the old one or the new one."""

import os
from pathlib import Path


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
