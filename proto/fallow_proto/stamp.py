"""Whether a file is still the one that was read."""

from pathlib import Path


def stamp(path: Path) -> tuple[int, ...]:
    """Another one whenever the file is written, replaced or given other rights; empty: there is none to be seen."""
    try:
        status = path.stat()
    except OSError:
        return ()
    # the time of change moves with the mode as well as with the content
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
