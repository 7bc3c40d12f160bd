"""The stage that commits: batches, patience, bounded memory."""

import threading

import numpy as np

from fallow_collector.series import Series, Source, Span
from fallow_collector.stores.store import Batch, Outcome, Rows
from fallow_collector.writer import HUNG_S, RETRY_S, Progress, Writer
from fallow_proto.ranges import RangeSet
from tests.collector.memory_store import MemoryStore

SOURCE = Source("node-1", "epoch-a")
SERIES = [Series("site", "node-1", "gpu-0", "nvidia", "A100", "intelligent")]
WALL = 1.7e9


def rows(count: int = 1) -> list[Rows]:
    return [Rows(
        time_ms=np.zeros(count, dtype=np.int64), series=np.zeros(count, dtype=np.int32),
        gauge_names=("power_watts",), gauges=np.zeros((count, 1), dtype=np.float32),
        counter_names=(), counters=np.zeros((count, 0)),
    )]


def span(lo: int, hi: int | None = None) -> list[Span]:
    return [Span(SOURCE, lo, lo if hi is None else hi)]


def opened(store: MemoryStore, **limits: int) -> Writer:
    writer = Writer(store, SERIES, **limits)
    writer.step(0.0, WALL)
    writer.start_taking()
    return writer


def test_the_first_step_opens_the_store_and_says_what_it_has() -> None:
    store = MemoryStore()
    store.ranges[SOURCE] = RangeSet([(1, 5)])
    writer = Writer(store, SERIES)
    assert writer.problem == "the store has not been opened yet"
    assert not writer.offer(rows(), span(6)), "what it has is not known yet, so nothing can be told from a double"
    assert writer.step(0.0, WALL).opened == {SOURCE: RangeSet([(1, 5)])}
    assert writer.problem == ""
    assert not writer.offer(rows(), span(6)), "it is known here, and not yet where it is offered"
    writer.start_taking()
    assert writer.offer(rows(), span(6))


class HangingStore(MemoryStore):
    """Its disk hangs from the next write on."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs, self.goes_on = threading.Event(), threading.Event()

    def write(self, batch: Batch, now: float) -> Outcome:
        self.hangs.set()
        self.goes_on.wait()
        return super().write(batch, now)


def test_a_store_that_hangs_is_told_while_it_does() -> None:
    store = HangingStore()
    writer = opened(store)
    writer.offer(rows(), span(1))
    thread = threading.Thread(target=writer.step, args=(100.0, WALL))
    thread.start()
    try:
        assert store.hangs.wait(60.0)
        assert writer.trouble(100.0 + HUNG_S - 1.0) == ""
        assert "it has not answered for 75 s, expected less than 60" in writer.trouble(175.0)
    finally:
        store.goes_on.set()
        thread.join()
    assert writer.trouble(1000.0) == ""


def test_offers_are_committed_together_and_successive_numbers_are_one_span() -> None:
    store = MemoryStore()
    writer = opened(store)
    for number in (1, 2, 3, 5):
        writer.offer(rows(2), span(number))
    assert writer.step(1.0, WALL).outcome.committed == [*span(1, 3), *span(5)]
    assert len(store.batches) == 1
    assert store.rows == 8
    assert (writer.pending_rows, writer.pending_bytes) == (0, 0)


def test_a_batch_has_a_most_of_rows_and_the_rest_follows_at_once() -> None:
    store = MemoryStore()
    writer = opened(store, batch_rows=10)
    for number in range(1, 7):
        writer.offer(rows(4), span(number))
    assert writer.behind
    assert writer.step(1.0, WALL).outcome.committed == span(1, 2)
    assert writer.step(1.0, WALL).outcome.committed == span(3, 4)
    assert writer.step(1.0, WALL).outcome.committed == span(5, 6)
    assert not writer.behind


def test_an_offer_larger_than_a_batch_is_a_batch() -> None:
    writer = opened(MemoryStore(), batch_rows=10)
    writer.offer(rows(25), span(1))
    assert writer.step(1.0, WALL).outcome.committed == span(1)


def test_a_store_that_is_down_is_asked_again_with_the_same_batch_ever_more_patiently() -> None:
    store = MemoryStore()
    writer = opened(store)
    writer.offer(rows(), span(1))
    store.down = "disk full"
    now = 0.0
    for patience in (*RETRY_S, RETRY_S[-1]):
        assert writer.step(now, WALL) == Progress(None, Outcome(), "disk full")
        failures = writer.failures
        writer.step(now + patience - 0.01, WALL)
        assert writer.failures == failures, "not asked before its time"
        now += patience
    writer.offer(rows(), span(2))
    store.down = ""
    assert writer.step(now, WALL).outcome.committed == span(1), "the older batch comes first"
    assert writer.problem == ""
    assert writer.step(now, WALL).outcome.committed == span(2)
    assert store.copies == {(SOURCE, 1): 1, (SOURCE, 2): 1}


def test_a_store_that_cannot_be_opened_is_tried_again() -> None:
    store = MemoryStore()
    store.down = "held by another collector"
    writer = Writer(store, SERIES)
    assert writer.step(0.0, WALL).problem == "held by another collector"
    assert not writer.has_room
    store.down = ""
    assert writer.step(RETRY_S[0], WALL).opened == {}
    assert store.opens == 2


def test_memory_is_bounded_while_the_store_is_down_and_free_again_after() -> None:
    store = MemoryStore()
    writer = opened(store, pending_bytes=5_000)
    store.down = "gone"
    taken = [number for number in range(1, 1000) if writer.offer(rows(10), span(number))]
    assert 0 < len(taken) < 40
    assert writer.pending_bytes < 5_000 + 500
    writer.step(0.0, WALL)
    assert not writer.has_ample_room
    store.down = ""
    assert writer.step(10.0, WALL).outcome.committed == span(1, len(taken))
    assert writer.has_room
    assert writer.has_ample_room


def test_a_store_that_breaks_its_contract_does_not_end_the_stage() -> None:
    class Broken(MemoryStore):
        def write(self, batch: Batch, now: float) -> Outcome:
            raise ZeroDivisionError("oh")

    writer = opened(Broken())
    writer.offer(rows(), span(1))
    assert writer.step(1.0, WALL).problem == "ZeroDivisionError: oh"


def test_chores_that_fail_do_not_undo_a_commit() -> None:
    class Untidy(MemoryStore):
        def maintain(self, now: float) -> None:
            raise OSError("no space for compaction")

    writer = opened(Untidy())
    writer.offer(rows(), span(1))
    assert writer.step(1.0, WALL).outcome.committed == span(1)
    assert writer.failures == 2  # a chore of each step


def test_what_settles_later_is_told_when_it_does() -> None:
    store = MemoryStore()
    store.settling = True
    writer = opened(store)
    writer.offer(rows(), span(1))
    assert writer.step(1.0, WALL).outcome.committed == span(1), "the poll after the write settles it"


def test_the_thread_drains_what_is_left_before_it_ends_and_closes_the_store() -> None:
    store = MemoryStore()
    writer = opened(store)
    writer.offer(rows(), span(1))
    stopped = threading.Event()
    stopped.set()
    told: list[Progress] = []
    thread = threading.Thread(target=writer.run, args=(told.append, stopped, 10.0))
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert [progress.outcome.committed for progress in told] == [span(1)]
    assert store.closed
    assert not writer.offer(rows(), span(2))


def test_the_thread_does_not_wait_for_a_store_that_is_down_when_it_is_to_end() -> None:
    store = MemoryStore()
    writer = opened(store)
    writer.offer(rows(), span(1))
    store.down = "gone"
    stopped = threading.Event()
    stopped.set()
    told: list[Progress] = []
    writer.run(told.append, stopped, drain_s=60.0)
    assert [progress.problem for progress in told] == ["gone"]
