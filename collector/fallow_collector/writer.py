"""The stage that commits to the store: one thread, batches of about a second, bounded memory, patience with a store
that is down.

The loop offers, the thread stores; what became of it comes back as Progress. While the store cannot commit, up to
PENDING_BYTES wait here; what comes then is not taken, and stays in the agents' spools.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from fallow_collector.batches import joined, merged_rows, merged_spans
from fallow_collector.series import Series, Source, Span
from fallow_collector.stores.store import Batch, Outcome, Rows, Store, StoreError
from fallow_proto.failpoint import Point, reached
from fallow_proto.ranges import RangeSet

COLLECT_S = 1.0
"""Between commits: each costs a flush of the disk, and an acknowledgement may be a second late."""

BATCH_ROWS = 200_000
"""Most rows in one commit: two and a half seconds of 10,000 nodes with 8 devices."""

PENDING_BYTES = 128 * 2**20
"""About 12 s of 10,000 nodes with 8 devices, enough for a slow commit; an outage is the spools' affair."""

RETRY_S = (1.0, 2.0, 5.0, 10.0, 30.0)

HUNG_S = 60.0
"""A healthy store needs seconds for a commit, and less than this for an hour's files."""

ROW_BYTES = 12  # time and series of a row
SPAN_BYTES = 64

log = logging.getLogger(__name__)


class Progress(NamedTuple):
    """What a step of the writer did."""

    opened: Mapping[Source, RangeSet] | None = None  # what the store has for good, when it was opened in this step
    outcome: Outcome = Outcome()
    problem: str = ""  # why the store cannot commit now; empty: it can


class _Offer(NamedTuple):
    rows: Sequence[Rows]
    spans: Sequence[Span]
    many: int  # rows
    size: int  # bytes


class Writer:
    """offer() and the counters: the loop's side. step(): the thread's."""

    def __init__(
        self, store: Store, series: Sequence[Series], pending_bytes: int = PENDING_BYTES, batch_rows: int = BATCH_ROWS
    ) -> None:
        """series: Fleet.series, which grows while the writer runs."""
        self.problem = "the store has not been opened yet"
        self.rows_written = 0
        self.rows_refused = 0
        self.failures = 0
        self.commit_s = 0.0  # what the last commit took
        self._store = store
        self._series = series
        self._limit_bytes = pending_bytes
        self._batch_rows = batch_rows
        self._lock = threading.Lock()
        self._offers: deque[_Offer] = deque()
        self._pending_rows = 0
        self._pending_bytes = 0
        self._taking = False
        self._full = threading.Event()
        self.opened = False
        self._batch: Batch | None = None  # offered to the store and not taken by it
        self._batch_size = (0, 0)
        self._failed = 0  # times in a row
        self._retry_at = 0.0
        self._began: float | None = None  # the step that is not over

    @property
    def has_room(self) -> bool:
        return self._taking and self._pending_bytes < self._limit_bytes

    @property
    def has_ample_room(self) -> bool:
        """Room for what was dropped before, beside what comes anyway."""
        return self._taking and not self.problem and self._pending_bytes < self._limit_bytes // 2

    @property
    def pending_bytes(self) -> int:
        return self._pending_bytes

    @property
    def pending_rows(self) -> int:
        return self._pending_rows

    def trouble(self, now: float) -> str:
        """Why nothing is committed now (monotonic); empty: nothing is wrong. A store that hangs is waited for: what
        keeps its thread in the kernel would keep the whole process there when it is to be restarted, and until then
        everything but the store goes on."""
        began = self._began
        if self.problem or began is None or now - began < HUNG_S:
            return self.problem
        return (
            f"it has not answered for {now - began:.0f} s, expected less than {HUNG_S:.0f}; look at its disk or "
            "server, and restart the collector if they are well"
        )

    def offer(self, rows: Sequence[Rows], spans: Sequence[Span]) -> bool:
        """Take rows and the numbers that they came under; False: there is no room, and nothing was taken."""
        if not self.has_room:
            return False
        count = sum(len(each.time_ms) for each in rows)
        size = len(spans) * SPAN_BYTES + count * ROW_BYTES + sum(r.gauges.nbytes + r.counters.nbytes for r in rows)
        with self._lock:
            self._offers.append(_Offer(rows, spans, count, size))
            self._pending_rows += count
            self._pending_bytes += size
        if self._pending_rows >= self._batch_rows:
            self._full.set()
        return True

    def step(self, now: float, wall: float) -> Progress:
        """Open the store if need be, commit one batch, let the store do its chores.

        now: monotonic, for patience; wall: unix seconds, for the store.
        """
        self._began = now
        try:
            return self._step(now, wall)
        finally:
            self._began = None

    def _step(self, now: float, wall: float) -> Progress:
        if now < self._retry_at:
            return Progress(problem=self.problem)
        opened = None
        try:
            if not self.opened:
                opened = self._store.open()
                self.opened = True
            committed = self._commit(wall)
        except StoreError as error:
            self._put_off(str(error), now)
            return Progress(opened, Outcome(), self.problem)
        except Exception as error:  # the store's contract allows StoreError only; the stage must live on all the same
            log.exception("BUG: the store failed in a way that it should not")
            self._put_off(f"{type(error).__name__}: {error}", now)
            return Progress(opened, Outcome(), self.problem)
        self._recovered()
        outcome = joined(committed, self._chores(wall))
        self.rows_refused += outcome.refused_rows
        if outcome.refused_rows:
            log.warning("store refused rows=%d message=%r", outcome.refused_rows, outcome.message)
        return Progress(opened, outcome)

    @property
    def behind(self) -> bool:
        """Whether there is more to commit than one batch, so that the next step should come at once."""
        return self._pending_rows >= self._batch_rows and not self.problem

    def start_taking(self) -> None:
        """Once whoever offers knows what the store has (Progress.opened): before, nothing can be told from a double."""
        self._taking = True

    def stop_taking(self) -> None:
        self._taking = False

    def close(self) -> None:
        if self.opened:
            self._store.close()

    def run(self, deliver: Callable[[Progress], None], stopped: threading.Event, drain_s: float) -> None:
        """The thread: step about once a second until `stopped`, then for at most drain_s while something is left."""
        while not stopped.is_set():
            deliver(self.step(time.monotonic(), time.time()))
            if not self.behind:
                self._full.wait(COLLECT_S)
                self._full.clear()
        self.stop_taking()
        deadline = time.monotonic() + drain_s
        while (self._offers or self._batch) and time.monotonic() < deadline:
            progress = self.step(time.monotonic(), time.time())
            deliver(progress)
            if progress.problem:
                break
        self.close()

    def hurry(self) -> None:
        """Do not wait for the rest of the second."""
        self._full.set()

    def _commit(self, wall: float) -> Outcome:
        if self._batch is None:
            self._batch = self._next_batch()
        if self._batch is None:
            return Outcome()
        began = time.perf_counter()
        reached(Point.WRITER_BEFORE_WRITE)
        outcome = self._store.write(self._batch, wall)
        reached(Point.WRITER_AFTER_WRITE)
        self.commit_s = time.perf_counter() - began
        rows, size = self._batch_size
        self._batch = None
        with self._lock:
            self._pending_rows -= rows
            self._pending_bytes -= size
        self.rows_written += rows
        return outcome

    def _next_batch(self) -> Batch | None:
        rows: list[Rows] = []
        spans: list[Span] = []
        count = size = 0
        with self._lock:
            while self._offers and (not spans or count + self._offers[0].many <= self._batch_rows):
                offer = self._offers.popleft()
                rows += offer.rows
                spans += offer.spans
                count += offer.many
                size += offer.size
        if not spans:
            return None
        self._batch_size = (count, size)
        return Batch(merged_rows(rows), merged_spans(spans), self._series)

    def _chores(self, wall: float) -> Outcome:
        outcome = Outcome()
        for name, chore in (("poll", self._poll), ("maintain", self._maintain)):
            try:
                outcome = joined(outcome, chore(wall))
            except Exception as error:  # noqa: BLE001  # chores can wait; commits cannot
                self.failures += 1
                log.warning("store chore failed chore=%s error=%r", name, error)
        return outcome

    def _poll(self, wall: float) -> Outcome:
        return self._store.poll(wall)

    def _maintain(self, wall: float) -> Outcome:
        self._store.maintain(wall)
        return Outcome()

    def _put_off(self, problem: str, now: float) -> None:
        self.failures += 1
        self._retry_at = now + RETRY_S[min(self._failed, len(RETRY_S) - 1)]
        self._failed += 1
        if self._failed == 1 or problem != self.problem:
            log.error("store cannot commit problem=%r retry_s=%.0f", problem, self._retry_at - now)
        self.problem = problem

    def _recovered(self) -> None:
        if self._failed:
            log.info("store commits again failures=%d", self._failed)
        self._failed = 0
        self._retry_at = 0.0
        self.problem = ""
