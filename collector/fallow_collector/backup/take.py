"""A copy of the state folder that is as one moment left it, beside a collector that goes on.

What is small and in SQLite is copied through SQLite. Of the embedded store, in this order,

    hot slices      main file and log, as they are: a log that is cut in the middle of a write ends before that write,
                    as after a crash
    catalogue       later: a slice that was closed since is in it as a file, and the copied slice counts no more
    Parquet files   those of the copied catalogue, by hard links; where one was compacted away since, both again

so that each row and each committed range is in the copy once or not at all, together.
"""

import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fallow_collector.backup.errors import BackupError
from fallow_collector.state.before import copy_whole

PREFIX = "backup-"
STORE = "store"
_ATTEMPTS = 10
_LEFT_OUT = frozenset({"lock", "quarantine", "spill"})


@contextmanager
def snapshot(state: Path, series: bool) -> Iterator[Path]:
    """A folder with the copy, until the block ends. series: with the embedded store. Raises BackupError, OSError."""
    if not (state / "state.sqlite").is_file():
        raise BackupError(f"{state} holds no state.sqlite; expected the [state] dir of a collector that has run")
    with _alone(state), tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=state) as made:
        copy = Path(made)
        for path in sorted(state.iterdir()):
            if path.name != STORE and not _is_left_out(path):
                _copy(path, copy / path.name)
        if series and (state / STORE).is_dir():
            _copy_store(state / STORE, copy / STORE)
        yield copy


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """One backup at a time; what killed ones left is removed. Raises BackupError."""
    descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pids = " or ".join(path.name.split("-")[1] for path in state.glob(f"{PREFIX}*-*"))
            who = f"process {pids}" if pids else "another process"
            raise BackupError(f"{who} takes a backup of {state} now; wait until it has ended") from error
        for path in state.glob(f"{PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


def names(copy: Path) -> list[str]:
    return sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file())


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        target.mkdir(mode=0o700)
        for below in sorted(path.iterdir()):
            if not _is_left_out(below):
                _copy(below, target / below.name)
    elif path.suffix == ".sqlite":
        _copy_sqlite(path, target)
    elif path.is_file():
        shutil.copyfile(path, target)


def _copy_sqlite(path: Path, target: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=30.0)) as connection:
            copy_whole(connection, target)
    except sqlite3.Error as error:
        raise BackupError(f"{path} cannot be copied: {error}; check its disk and its owner") from error


def _copy_store(store: Path, target: Path) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        shutil.rmtree(target, ignore_errors=True)
        for folder in ("hot", "parquet"):
            (target / folder).mkdir(mode=0o700, parents=True)
        try:
            for path in sorted((store / "hot").glob("hot-*.duckdb*")):
                shutil.copyfile(path, target / "hot" / path.name)
            _copy_sqlite(store / "catalogue.sqlite", target / "catalogue.sqlite")
            for name in _files_of(target / "catalogue.sqlite"):
                _link(store / "parquet" / name, target / "parquet" / name)
        except FileNotFoundError as error:
            if attempt == _ATTEMPTS:
                raise BackupError(
                    f"{error.filename} was gone each of {_ATTEMPTS} times: the store changes faster than it can be "
                    f"copied, or lost a file (its log says); --without-series leaves it out"
                ) from error
        else:
            return


def _files_of(catalogue: Path) -> list[str]:
    with closing(sqlite3.connect(catalogue)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM file")]


def _link(path: Path, target: Path) -> None:
    """Closed files never change, so a link is as good as a copy, and costs no room."""
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without them
        shutil.copyfile(path, target)


def _is_left_out(path: Path) -> bool:
    """Locks, what SQLite keeps beside its files, and what is only there to be looked at."""
    return (
        path.name in _LEFT_OUT
        or path.name.endswith(("-wal", "-shm", "-journal"))
        or ".damaged" in path.name
        or ".schema-" in path.name
        or path.name.startswith(PREFIX)
        or path.is_symlink()
    )
