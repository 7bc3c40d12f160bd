"""The background work of the store, one bounded step at a time: whoever calls step() decides in which thread."""

import logging
import shutil
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock

import duckdb

from fallow_proto.failpoint import Point, reached

from .catalogue import Catalogue
from .closing import Compacted, close, compact, due
from .engine import Engine
from .files import Contents, File, Shelf
from .hot import HotSlice, committed, discard
from .parquet import is_damaged
from .quarantine import Quarantine
from .retention import Disk, doomed, forget_before, newest
from .settings import EmbeddedSettings

_log = logging.getLogger(__name__)
_RETENTION_S = 10.0


class Upkeep:
    """Raises what DuckDB, SQLite, Arrow and the file system raise; a step that failed has changed nothing."""

    def __init__(
        self, engine: Engine, catalogue: Catalogue, shelf: Shelf, parquet: Path, quarantine: Quarantine,
        settings: EmbeddedSettings,
    ) -> None:
        self._engine, self._catalogue, self._shelf = engine, catalogue, shelf
        self._parquet, self._quarantine, self._settings = parquet, quarantine, settings
        self._compaction: tuple[frozenset[str], Generator[Compacted | None, None, None]] | None = None
        self._retained = float("-inf")
        self._damaged: set[str] = set()
        self._lock = Lock()
        self.files_aged = 0
        self.files_squeezed = 0
        self.rows_squeezed = 0
        self.bytes_removed = 0  # for either reason

    def suspect(self, name: str) -> None:
        """A file of the manifest that cannot be read: queries go on without it. Any thread may call."""
        with self._lock:
            self._damaged.add(name)
        self._shelf.change(lambda contents: contents.without({name}))

    def step(self, now: float) -> bool:
        """Do the most urgent piece of work; False if there was none.

        Retention is first: on a full disk nothing else succeeds until it has made room.
        """
        return self._retain(now) or self._set_damaged_aside() or self._close_oldest() or self._compact(now)

    def _set_damaged_aside(self) -> bool:
        with self._lock:
            damaged = set(self._damaged)
        if not damaged:
            return False
        rows = {file.name: file.rows for file in self._catalogue.files()}
        self._catalogue.replace(damaged, ())
        for name in damaged:
            place = self._quarantine.take(self._parquet / name)
            _log.error("file=damaged path=%s rows_lost=%d moved_to=%s", self._parquet / name, rows.get(name, 0), place)
        with self._lock:
            self._damaged -= damaged
        return True

    def _close_oldest(self) -> bool:
        hot = self._shelf.contents.hot
        if not hot or not hot[0].full:
            return False
        oldest = hot[0]
        file = close(self._engine, oldest, self._parquet, self._catalogue.tags())
        with self._engine.cursor() as cursor:
            ranges = committed(cursor, oldest)
        reached(Point.SLICE_AFTER_WRITE)
        self._catalogue.close_slice(oldest.number, file, ranges)
        reached(Point.SLICE_AFTER_CLOSE)
        self._shelf.change(partial(_closed, hot=oldest, file=file))
        discard(self._engine, oldest)
        return True

    def _retain(self, now: float) -> bool:
        if not is_over(self._retained, _RETENTION_S, now):
            return False
        self._retained = now
        contents = self._shelf.contents
        busy = self._compaction[0] if self._compaction else frozenset[str]()
        candidates = [file for file in contents.files if file.name not in busy]
        disk = Disk(self.used_bytes(), shutil.disk_usage(self._parquet).free)
        counted_from = newest(contents.files, now)
        gone = doomed(candidates, disk, self._settings, counted_from)
        names = {file.name for file in (*gone.aged, *gone.squeezed)}
        if names:
            self._shelf.change(lambda contents: contents.without(names))
            # Unlinked before the manifest forgets them: on a full disk it could not.
            for name in names:
                (self._parquet / name).unlink(missing_ok=True)
            self.files_aged += len(gone.aged)
            self.files_squeezed += len(gone.squeezed)
            self.rows_squeezed += sum(file.rows for file in gone.squeezed)
            self.bytes_removed += sum(file.bytes for file in (*gone.aged, *gone.squeezed))
            self._catalogue.replace(names, ())
        if gone.squeezed:
            _log.warning(
                "retention=early files=%d rows=%d used_bytes=%d free_bytes=%d reason=\"max_gib or min_free_gib\"",
                len(gone.squeezed), sum(file.rows for file in gone.squeezed), disk.used, disk.free,
            )
        self._catalogue.forget_sources(forget_before(self._settings, counted_from))
        return bool(names)

    def _compact(self, now: float) -> bool:
        if self._compaction is None:
            contents = self._shelf.contents
            slices = due(contents.files, contents.hot, now)
            if not slices:
                return False
            names = frozenset(file.name for file in slices)
            self._compaction = names, compact(self._engine, slices, self._parquet, self._catalogue.tags())
        names, work = self._compaction
        try:
            made = next(work)
        except duckdb.Error:
            self._compaction = None
            self._suspect_among(names)
            raise
        except BaseException:
            self._compaction = None
            raise
        if made is None:
            return True
        self._compaction = None
        reached(Point.HOUR_AFTER_WRITE)
        self._catalogue.replace(made.replaced, made.files)
        reached(Point.HOUR_AFTER_REPLACE)
        self._shelf.change(partial(_compacted, made=made))
        for name in made.replaced:
            (self._parquet / name).unlink(missing_ok=True)
        return True

    def _suspect_among(self, names: frozenset[str]) -> None:
        for name in names:
            if is_damaged(self._parquet / name):
                self.suspect(name)

    def used_bytes(self) -> float:
        """Bytes of all that the store has on the disk, but for what is quarantined."""
        contents = self._shelf.contents
        hot = sum(_size(path) for one in contents.hot for path in (one.path, one.log))
        return hot + sum(file.bytes for file in contents.files)

    def abandon(self) -> None:
        """Give up a compaction that is under way; its slices are all still there."""
        if self._compaction is not None:
            self._compaction[1].close()
            self._compaction = None


def is_over(began: float, lasts_s: float, now: float) -> bool:
    """Whether it is so long ago, in unix seconds; also when the wall clock was set back behind it, or upkeep and the
    room that it makes would wait until the clock has caught up."""
    return not began <= now < began + lasts_s


def _closed(contents: Contents, hot: HotSlice, file: File | None) -> Contents:
    files = contents.files if file is None else (*contents.files, file)
    return replace(contents, hot=tuple(one for one in contents.hot if one is not hot), files=files)


def _compacted(contents: Contents, made: Compacted) -> Contents:
    remaining = contents.without(made.replaced)
    return replace(remaining, files=(*remaining.files, *made.files))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
