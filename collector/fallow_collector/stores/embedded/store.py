"""The embedded store: DuckDB for the newest minutes, Parquet for the rest, SQLite for what says which is which.

    directory/lock               held for as long as a collector runs
    directory/catalogue.sqlite   manifest of the files, tags of the series, committed ranges
    directory/hot/               hot slices: some minutes of rows each, as they arrived
    directory/parquet/           slice-, hour- and minute- files, for anybody to read; names say when their rows arrived
    directory/quarantine/        what was damaged
    directory/spill/             DuckDB's, emptied at start

Threads: write(), maintain() and the others belong to the writer; one thread of the store's own does the upkeep;
history() runs wherever it is called. They share the Shelf, whose contents are replaced and never changed.

Everything that DuckDB, SQLite, Arrow or the file system raises leaves here as StoreError.
"""

import fcntl
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import duckdb
import numpy as np
import pyarrow as pa

from fallow_collector.stores.store import Batch, HistoryQuery, Outcome, Source, StoreError, Table
from fallow_proto.durable import expect_own, sync_folder
from fallow_proto.metrics import BY_NAME
from fallow_proto.ranges import RangeSet

from . import hot, recovery
from .catalogue import NewerVersion
from .engine import Engine
from .files import Contents, FileKind, Shelf
from .history import Plan, plan, run, window_of
from .parquet import is_damaged
from .quarantine import Quarantine
from .settings import EmbeddedSettings
from .upkeep import Upkeep, is_over

_log = logging.getLogger(__name__)

SLICE_S = 600.0
SLICE_ROWS = 2_000_000
"""A third of a gigabyte of memory and of log, read again in 1.4 s after a crash; 25 s of a full fleet."""

_RETRY_S = 10.0  # between attempts at upkeep that fails, so that a full disk does not fill the journal as well
_ATTEMPTS = 3


class EmbeddedStore:
    """A stores.store.Store in a directory that is its own."""

    def __init__(self, directory: Path, settings: EmbeddedSettings) -> None:
        self._directory = directory.absolute()
        self._settings = settings
        self._hot_folder = self._directory / "hot"
        self._parquet = self._directory / "parquet"
        self._quarantine = Quarantine(self._directory / "quarantine")
        self._shelf = Shelf()
        self._ids = np.empty(0, np.int32)  # the catalogue's number of each position of Batch.series
        self._current: hot.HotSlice | None = None
        self._broken = False
        self._work: Future[bool] | None = None
        self._failed_at = float("-inf")

    def open(self) -> dict[Source, RangeSet]:
        with _translated(f"the store in {self._directory} cannot be opened"), ExitStack() as opened:
            for folder in (self._directory, self._hot_folder, self._parquet, self._directory / "spill"):
                expect_own(folder, folder=True)
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            opened.enter_context(_locked(self._directory / "lock"))
            for leftover in (self._directory / "spill").iterdir():
                is_folder = leftover.is_dir() and not leftover.is_symlink()
                shutil.rmtree(leftover) if is_folder else leftover.unlink()
            self._catalogue = recovery.open_catalogue(
                self._directory / "catalogue.sqlite", self._parquet, self._quarantine
            )
            opened.callback(self._catalogue.close)
            for folder in (self._directory, self._directory.parent):
                sync_folder(folder)
            files = recovery.sweep(self._catalogue, self._parquet, self._quarantine)
            self._engine = Engine(self._directory)
            opened.callback(self._engine.close)
            self._shelf.change(lambda _: Contents(self._recovered(), files))
            self._writer = self._engine.cursor()
            opened.callback(lambda: self._writer.close())  # whichever it will be by then
            self._upkeep = Upkeep(
                self._engine, self._catalogue, self._shelf, self._parquet, self._quarantine, self._settings
            )
            opened.callback(self._upkeep.abandon)
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="store-upkeep")
            opened.callback(self._pool.shutdown, cancel_futures=True)
            committed = self._committed()
            self._opened = opened.pop_all()
            return committed

    def _recovered(self) -> tuple[hot.HotSlice, ...]:
        through = self._catalogue.closed_through()
        slices = recovery.recover_slices(self._engine, self._hot_folder, through, self._quarantine)
        self._next_number = max([through, *(one.number for one in slices)]) + 1
        return slices

    def _committed(self) -> dict[Source, RangeSet]:
        ranges = self._catalogue.committed()
        for one in self._shelf.contents.hot:
            for source, (added, _) in hot.committed(self._writer, one).items():
                ranges.setdefault(source, RangeSet()).update(added)
        return ranges

    def write(self, batch: Batch, now: float) -> Outcome:
        with _translated("the batch was not stored"):
            if self._broken:
                self._restart()
                if self._has(batch):
                    return Outcome(committed=list(batch.spans))
            try:
                if len(batch.series) > len(self._ids):
                    added = self._catalogue.number(batch.series[len(self._ids):])
                    self._ids = np.append(self._ids, np.array(added, np.int32))
                current = self._current or self._begin()
                hot.insert(self._writer, current, batch, self._ids, now)
            except duckdb.FatalException:
                # A sync that failed: what the kernel still holds of the log is unknown, so read it again from the disk.
                self._broken = True
                raise
        return Outcome(committed=list(batch.spans))

    def _has(self, batch: Batch) -> bool:
        """Whether a commit that failed is there after all: its sync failed, and yet the disk took it."""
        committed = self._committed()
        return bool(batch.spans) and all(span.lo in committed.get(span.source, ()) for span in batch.spans)

    def _begin(self) -> hot.HotSlice:
        self._current = begun = hot.begin(self._engine, self._hot_folder, self._next_number)
        self._next_number += 1
        self._shelf.change(lambda contents: replace(contents, hot=(*contents.hot, begun)))
        return begun

    def _restart(self) -> None:
        if self._work is not None:
            self._work.exception()  # waits; it will have failed as well
        self._upkeep.abandon()
        self._current = None
        self._shelf.change(lambda contents: replace(contents, hot=()))
        self._engine.restart()
        slices = self._recovered()
        self._shelf.change(lambda contents: replace(contents, hot=slices))
        self._writer = self._engine.cursor()
        self._broken = False
        _log.warning("engine=restarted slices=%d", len(slices))

    def poll(self, now: float) -> Outcome:  # what write() returned is for good
        return Outcome()

    def maintain(self, now: float) -> None:
        """Start the next step of upkeep if the last one is done. Raises the StoreError that it ended with."""
        current = self._current
        if current is not None and current.opened is not None and (
            current.rows >= SLICE_ROWS or is_over(current.opened, SLICE_S, now)
        ):
            current.full = True
            self._current = None
        if self._broken or (self._work is not None and not self._work.done()):
            return
        done, self._work = self._work, None
        if done is not None:
            with _translated("upkeep of the store failed and will be tried again"):
                try:
                    done.result()
                except Exception as error:
                    self._failed_at = now
                    self._broken = isinstance(error, duckdb.FatalException)
                    raise
        if is_over(self._failed_at, _RETRY_S, now):
            self._work = self._pool.submit(self._upkeep.step, now)

    def history(self, query: HistoryQuery) -> Table:
        unknown = [name for name in query.columns if name not in BY_NAME]
        if unknown:
            raise StoreError(f"no metric is called {', '.join(unknown)}; expected names of the metric table")
        with _translated("history cannot be read"):
            numbers = self._catalogue.numbers_of(query.uuid)
            for attempt in range(_ATTEMPTS):
                contents = self._shelf.contents
                chosen = plan(contents, window_of(query))
                try:
                    with self._engine.cursor() as cursor:
                        return run(cursor, chosen, self._parquet, numbers, query)
                except duckdb.FatalException:
                    raise
                except duckdb.Error:
                    if attempt == _ATTEMPTS - 1 or not self._explains(contents, chosen):
                        raise
        raise AssertionError("the last attempt returns or raises")

    def _explains(self, contents: Contents, chosen: Plan) -> bool:
        """Whether another attempt may succeed: files were replaced meanwhile, or are damaged and now left out."""
        if self._shelf.contents is not contents:
            return True
        names = [file.name for file in (*chosen.raw, *chosen.minutes)]
        bad = [name for name in names if is_damaged(self._parquet / name)]
        still = {file.name for file in self._shelf.contents.files}
        for name in bad:
            if name in still:
                self._upkeep.suspect(name)
        return bool(bad)

    def facts(self) -> dict[str, float]:
        """Sizes in bytes; what ends in _total counts since the start of the process."""
        contents = self._shelf.contents
        raw = [file for file in contents.files if file.kind is not FileKind.MINUTE]
        return {
            "bytes": self._upkeep.used_bytes(),
            "free_bytes": float(shutil.disk_usage(self._directory).free),
            "hot_slices": len(contents.hot),
            "hot_rows": sum(one.rows for one in contents.hot),
            "slice_files": sum(file.kind is FileKind.SLICE for file in raw),
            "hour_files": sum(file.kind is FileKind.HOUR for file in raw),
            "raw_rows": sum(file.rows for file in raw),
            "raw_bytes": sum(file.bytes for file in raw),
            "minute_files": len(contents.files) - len(raw),
            "minute_bytes": sum(file.bytes for file in contents.files if file.kind is FileKind.MINUTE),
            "quarantined_files_total": self._quarantine.files,
            "aged_files_total": self._upkeep.files_aged,
            "squeezed_files_total": self._upkeep.files_squeezed,
            "squeezed_rows_total": self._upkeep.rows_squeezed,
            "removed_bytes_total": self._upkeep.bytes_removed,
            **({"oldest_row_unix_seconds": min(file.first_ms for file in raw) / 1000} if raw else {}),
        }

    def close(self) -> None:
        with _translated("the store was not closed cleanly; nothing is lost"):
            self._opened.close()


def _locked(path: Path) -> IO[str]:
    expect_own(path)
    file = path.open("w", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StoreError(
            f"{path} is held by another process: two collectors cannot share one directory; "
            "stop the other one, or name another [state] dir"
        ) from None
    return file


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except NewerVersion as error:
        raise StoreError(str(error)) from error
    except (duckdb.Error, sqlite3.Error, pa.ArrowException, OSError) as error:
        raise StoreError(f"{what}: {error}") from error
