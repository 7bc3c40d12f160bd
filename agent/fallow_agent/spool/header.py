"""What SQLite does not tell of a file's header (https://sqlite.org/fileformat2.html#the_database_header)."""

from pathlib import Path

from fallow_agent.errors import SpoolDamaged, SpoolError

_WRITE_FORMAT = 18  # where in the file


def check_header(path: Path | None) -> None:
    """To be asked while the file is closed. Of one whose format for writing it does not know, SQLite says no more than
    that the database is read-only, as of a disk that is."""
    if path is None:
        return
    try:
        with path.open("rb") as file:
            header = file.read(_WRITE_FORMAT + 1)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SpoolError(f"it cannot be read: {error}") from error
    if len(header) > _WRITE_FORMAT and header[_WRITE_FORMAT] not in (1, 2):
        raise SpoolDamaged(f"its header names the format {header[_WRITE_FORMAT]}, expected 1 or 2")
