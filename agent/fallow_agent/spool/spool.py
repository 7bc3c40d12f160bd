"""The spool as the agent sees it: on disk while the disk will have it, else in memory.

No trouble with the disk stops the agent. A full, read-only or missing folder leaves it with a bounded spool in memory,
which moves to disk as soon as that works again; a damaged file is set aside and a new one begun. `problem` says so.
"""

import contextlib
import fcntl
import logging
import os
from itertools import count
from pathlib import Path

from fallow_agent.errors import SpoolBusy, SpoolDamaged, SpoolError, SpoolNewer
from fallow_agent.logs import line
from fallow_agent.spool.database import Database
from fallow_agent.spool.item import Commit, Counters, Dropped, Item, Refused, merge
from fallow_agent.spool.place import Identity, identity, is_in_place
from fallow_proto.durable import expect_own, reread, sync_folder
from fallow_proto.ranges import RangeSet

log = logging.getLogger(__name__)

FILE = "spool.sqlite"
MEMORY_BYTES = 16 << 20
_RETRY_S = 30.0
_QUARANTINED_FILES = 3
_FOREVER_MS = 1 << 60


class Spool:
    """All calls come from one thread, and none but `Spool.open` raises (SpoolBusy)."""

    def __init__(self, directory: Path, max_bytes: int, max_age_ms: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_age_ms = max_age_ms
        self._lock: int | None = None
        self._disk: Database | None = None
        self._file: Identity | None = None  # which one it is on
        self._memory = self._new_memory()
        self._memory_counters = Counters()
        self._untrimmed: dict[str, RangeSet] = {}  # acknowledged, but the disk could not be told yet
        self._unrefused: dict[str, RangeSet] = {}  # refused, the same
        self._reason = ""  # of these, the newest
        self._retry_at = 0.0
        self._counters = Counters()
        self._recovered: dict[str, RangeSet] = {}
        self._damage = ""
        self.problem = ""
        """Why it is not on disk; empty when it is."""

    @classmethod
    def open(cls, directory: Path, max_bytes: int, max_age_ms: int, now: float) -> "Spool":
        """Recover what is there. now: monotonic seconds. Raises SpoolBusy when another agent has the folder."""
        spool = cls(directory, max_bytes, max_age_ms)
        spool._open_disk(now)
        return spool

    def recovered(self) -> dict[str, RangeSet]:
        """Sequence numbers that a disk held when it was opened, by epoch, oldest first; each is told once."""
        recovered, self._recovered = self._recovered, {}
        return recovered

    def damage(self) -> str:
        """Which file was set aside, and why, or how much of one is gone; each is told once."""
        told, self._damage = self._damage, ""
        return told

    def commit(self, commit: Commit, now_ms: int, now: float) -> Dropped:
        """Take in, trim and set aside in one transaction. now_ms: unix milliseconds; now: monotonic seconds."""
        self._forget_answers_to(commit.items)
        if self._disk is None and now >= self._retry_at:
            self._retry_disk(now)
        if self._disk is not None and now >= self._retry_at:
            try:
                dropped = self._commit_to_disk(self._put_back(self._disk), commit, now_ms)
            except SpoolError as error:
                self._fail(error, now)
            else:
                self.problem = ""
                return dropped
        for ranges in commit.trims:
            merge(self._untrimmed, ranges)
        for refusal in commit.refusals:
            merge(self._unrefused, refusal.ranges)
            self._reason = refusal.reason
        return self._memory.commit(commit, now_ms)

    def _forget_answers_to(self, items: list[Item]) -> None:
        """What was acknowledged or refused before it was there was not meant."""
        for answered in (self._untrimmed, self._unrefused):
            for item in items if answered else ():
                if item.epoch in answered:
                    answered[item.epoch].remove(item.seq, item.seq)

    def try_disk(self, now_ms: int, now: float) -> None:
        """Without the patience that a disk in trouble gets else: what is in memory now ends with the agent."""
        if self.problem:
            self._retry_at = now
            self.commit(Commit(), now_ms, now)

    def _put_back(self, disk: Database) -> Database:
        """The same again, if its file was removed or replaced while it was in use. Raises SpoolError."""
        new, file = self._directory / f"{FILE}.new", self._directory / FILE
        if is_in_place(file, self._file):
            return disk
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._let_go_of_lock()
            self._take_lock()
            new.unlink(missing_ok=True)
            disk.copy_to(new)
            if file.exists():
                self._quarantine(SpoolDamaged("was put there in the place of the one that is in use"))
            with new.open("rb") as copied:
                os.fsync(copied.fileno())
            new.replace(file)
            sync_folder(self._directory)
            _close(disk)
            self._disk = None
            self._disk = self._new_disk()
        except OSError as error:
            raise SpoolError(f"{file} was removed while it was in use, and cannot be put back: {error}") from error
        log.warning(line("spool was removed while it was in use; it was put back", file=file))
        return self._disk

    def _commit_to_disk(self, disk: Database, commit: Commit, now_ms: int) -> Dropped:
        waiting = self._memory_items()
        counted = self._uncounted()
        refused = [Refused(self._unrefused, self._reason)] if self._unrefused else []
        dropped = disk.commit(Commit(
            waiting + commit.items, [self._untrimmed, *commit.trims], refused + commit.refusals, counted
        ), now_ms)
        self._untrimmed, self._unrefused = {}, {}
        self._memory_counters = Counters()
        if waiting or any(counted):
            self._memory.close()
            self._memory = self._new_memory()
        return dropped

    def _uncounted(self) -> Counters:
        """What the disk has not counted yet."""
        return self._memory_counters + self._memory.counters()

    def _memory_items(self) -> list[Item]:
        items = []
        for epoch, ranges in self._memory.held().items():
            for lo, hi in ranges:
                while lo <= hi:
                    found, until = self._memory.read(epoch, lo, hi, MEMORY_BYTES)
                    items += found
                    lo = until + 1
        return items

    def read(
        self, epoch: str, lo: int, hi: int, max_bytes: int, now: float, *, events: bool = False
    ) -> tuple[list[Item], int]:
        """Items lo..hi in order, and up to which seq this says all: what it does not name is not there.

        A disk that cannot be read says nothing: up to lo - 1.
        """
        items: list[Item] = []
        for database in self._databases():
            try:
                found, until = database.read(epoch, lo, hi, max_bytes, events=events)
            except SpoolError as error:
                self._fail(error, now)
                return [], lo - 1
            hi = min(hi, until)
            items += found
        done = [ranges[epoch] for ranges in (self._untrimmed, self._unrefused) if epoch in ranges]
        left = (item for item in items if item.seq <= hi and not any(item.seq in ranges for ranges in done))
        return sorted(left, key=lambda item: item.seq), hi

    def count(self, dropped: Dropped) -> None:
        """Count what was dropped before it came here."""
        self._memory_counters += Counters(dropped_reports=dropped.reports, dropped_events=dropped.events)

    def counters(self) -> Counters:
        with contextlib.suppress(SpoolError):  # then the last ones that were read will do
            if self._disk is not None:
                self._counters = self._disk.counters()
        return self._counters + self._uncounted()

    def close(self) -> None:
        for database in self._databases():
            _close(database)
        self._disk = None
        self._let_go_of_lock()

    def _databases(self) -> list[Database]:
        return [self._memory] if self._disk is None else [self._disk, self._memory]

    def _new_memory(self) -> Database:
        return Database(None, min(self._max_bytes, MEMORY_BYTES), _FOREVER_MS)

    def _retry_disk(self, now: float) -> None:
        try:
            self._open_disk(now)
        except SpoolBusy as error:
            self._fail(error, now)

    def _open_disk(self, now: float) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            expect_own(self._directory / FILE, self._directory / f"{FILE}-wal")
            try:
                self._disk = self._opened_twice()
            except (SpoolDamaged, SpoolNewer) as error:
                self._quarantine(error)
                self._disk = self._new_disk()
            self._recovered = self._disk.recovered
            if lost := self._disk.lost_commits:
                self._damage = f"{self._directory / FILE}: its log is damaged, and the last {lost} commits are gone"
            self._retry_at = now
        except SpoolBusy:
            raise
        except (OSError, SpoolError) as error:
            self._fail(error, now)

    def _opened_twice(self) -> Database:
        """At the second attempt, if the first found damage: to SQLite, a disk in trouble for a moment looks like it."""
        try:
            return self._new_disk()
        except SpoolDamaged:
            reread(self._directory / FILE, self._directory / f"{FILE}-wal")
            return self._new_disk()

    def _new_disk(self) -> Database:
        disk = Database(self._directory / FILE, self._max_bytes, self._max_age_ms)
        self._file = identity(self._directory / FILE)
        return disk

    def _fail(self, error: Exception, now: float) -> None:
        """Go on in memory; a damaged file is set aside first, so that the next commit begins a new one."""
        self.problem = f"{self._directory}: {error}"
        self._retry_at = now + _RETRY_S
        if self._disk is None or not isinstance(error, SpoolDamaged):
            return
        _close(self._disk)
        self._disk = None
        try:
            self._quarantine(error)
        except OSError as failure:
            self.problem = f"{self._directory}: {error}, and the file cannot be set aside: {failure}"
        else:
            self._retry_at = now

    def _quarantine(self, error: SpoolDamaged | SpoolNewer) -> None:
        """Rename the file aside, with the log that belongs to it. Of damaged ones a few stay; what a newer agent wrote
        is whole, and never replaced. Raises OSError."""
        if isinstance(error, SpoolNewer):
            target = next(path for number in count() if not (path := self._aside("newer", number)).exists())
        else:
            aside = [self._aside("damaged", number) for number in range(_QUARANTINED_FILES)]
            target = next((path for path in aside if not path.exists()), None) or min(
                aside, key=lambda path: path.stat().st_mtime
            )
        for suffix in ("-wal", "-journal", ""):  # the file last: cut short, this is done again
            file, to = self._directory / f"{FILE}{suffix}", target.with_name(f"{target.name}{suffix}")
            if file.exists():
                file.replace(to)
            elif not isinstance(error, SpoolNewer):
                to.unlink(missing_ok=True)
        (self._directory / f"{FILE}-shm").unlink(missing_ok=True)
        self._memory_counters += Counters(quarantined=1)
        self._damage = f"{self._directory / FILE}: {error}; it was set aside as {target.name}"

    def _aside(self, why: str, number: int) -> Path:
        return self._directory / f"{FILE}.{why}-{number}"

    def _let_go_of_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        """Raises SpoolBusy, OSError. The lock ends with the process, however it ends."""
        if self._lock is not None:
            return
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise SpoolBusy(
                f"{self._directory} is used by another agent (process {holder}); stop that one, or give this one "
                "its own [spool] dir"
            ) from error
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError:  # the disk is full; kept open, it would keep this very agent from another try
            os.close(lock)
            raise
        self._lock = lock


def _close(database: Database) -> None:
    with contextlib.suppress(SpoolError):  # it is closed because of what is wrong with it
        database.close()
