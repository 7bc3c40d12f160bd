"""What every store must do: subclass StoreContract and give it the fixture `reopen`."""

from collections.abc import Callable, Iterator, Sequence
from math import nan

import numpy as np
import pytest

from fallow_collector.stores.store import (
    Batch,
    HistoryQuery,
    Outcome,
    Rows,
    Series,
    Source,
    Span,
    Store,
    StoreError,
    Table,
)

START = 1_763_769_600.0
"""A whole hour, unix seconds."""

NODE = Source("node-1", "epoch-1")
GPU = Series("default", "node-1", "GPU-1", "nvidia", "NVIDIA H100", "intelligent")
MOVED = GPU._replace(node="node-2", model='odd, "quoted" = name')

Reopen = Callable[[], tuple[Store, dict[Source, list[tuple[int, int]]]]]
"""Close the store if it is open, open it again on the same place; with what it says is committed."""


def rows(
    at: Sequence[float], gauges: dict[str, Sequence[float]], counters: dict[str, Sequence[float]] | None = None,
    series: int = 0,
) -> Rows:
    """Rows of one device; at: seconds after START."""
    counters = counters or {}
    count = len(at)
    return Rows(
        time_ms=np.round((START + np.asarray(at, np.float64)) * 1000).astype(np.int64),
        series=np.full(count, series, np.int32),
        gauge_names=tuple(gauges),
        gauges=np.array(list(gauges.values()), np.float32).reshape(len(gauges), count).T,
        counter_names=tuple(counters),
        counters=np.array(list(counters.values()), np.float64).reshape(len(counters), count).T,
    )


def batch(*blocks: Rows, lo: int = 1, hi: int | None = None, series: Sequence[Series] = (GPU,)) -> Batch:
    return Batch(blocks, [Span(NODE, lo, lo if hi is None else hi)], series)


def ask(
    *columns: str, start: float = -3600.0, end: float = 7200.0, step: float = 0.0, limit: int = 100_000,
    uuid: str = GPU.uuid,
) -> HistoryQuery:
    """start, end: seconds after START."""
    return HistoryQuery(uuid, columns, START + start, START + end, step, limit)


def seconds(table: Table) -> list[float]:
    """Its times, in seconds after START."""
    return [round(time - START, 3) for time in table.time]


class StoreContract:
    @pytest.fixture
    def reopen(self) -> Iterator[Reopen]:
        raise NotImplementedError

    @pytest.fixture
    def store(self, reopen: Reopen) -> Store:
        return reopen()[0]

    def commit(self, store: Store, *batches: Batch) -> None:
        """Write, and see to it that it is for good and can be read."""
        for one in batches:
            outcome = store.write(one, START)
            assert outcome == Outcome(committed=list(one.spans))

    def test_a_new_store_has_nothing(self, reopen: Reopen) -> None:
        store, committed = reopen()
        assert committed == {}
        table = store.history(ask("power_watts"))
        assert (table.time.shape, table.values.shape) == ((0,), (0, 1))

    def test_after_reopening_it_tells_exactly_what_is_committed(self, reopen: Reopen) -> None:
        store, _ = reopen()
        one = rows([1], {"power_watts": [70.0]})
        self.commit(store, batch(one, lo=1, hi=3), batch(one, lo=4), batch(one, lo=7, hi=9))
        other = Source("node-2", "epoch-1")
        self.commit(store, Batch([], [Span(other, 5, 5)], [GPU]))
        _, committed = reopen()
        assert committed == {NODE: [(1, 4), (7, 9)], other: [(5, 5)]}

    def test_rows_come_back_as_they_were_before_and_after_reopening(self, reopen: Reopen) -> None:
        store, _ = reopen()
        self.commit(store, batch(rows(
            [1, 2, 3.25], {"power_watts": [0.1, 71.5, 350.25]}, {"energy_joules_total": [1e9 + 0.125, 1e9 + 0.25, 2e9]}
        )))
        for reader in (store, None):
            table = (reader or reopen()[0]).history(ask("energy_joules_total", "power_watts"))
            assert seconds(table) == [1, 2, 3.25]
            assert table.values[:, 0].tolist() == [1e9 + 0.125, 1e9 + 0.25, 2e9]
            assert np.array_equal(table.values[:, 1].astype(np.float32), np.array([0.1, 71.5, 350.25], np.float32))

    def test_what_is_not_known_is_not_zero(self, store: Store) -> None:
        self.commit(store, batch(rows(
            [1, 2, 3], {"power_watts": [nan, 5.0, nan], "temperature_celsius": [40.0, nan, nan]},
        )))
        table = store.history(ask("power_watts", "temperature_celsius"))
        assert seconds(table) == [1, 2]
        assert np.array_equal(table.values, [[nan, 40.0], [5.0, nan]], equal_nan=True)
        stepped = store.history(ask("power_watts", "temperature_celsius", step=10, start=0))
        assert seconds(stepped) == [0]
        assert stepped.values.tolist() == [[5.0, 40.0]]

    def test_groups_that_were_read_at_one_tick_are_one_row(self, store: Store) -> None:
        self.commit(store, batch(
            rows([1, 2], {"power_watts": [1.0, 2.0]}), rows([2], {"power_limit_watts": [700.0]}),
        ))
        table = store.history(ask("power_watts", "power_limit_watts"))
        assert seconds(table) == [1, 2]
        assert np.array_equal(table.values, [[1.0, nan], [2.0, 700.0]], equal_nan=True)

    def test_a_step_holds_the_mean_of_a_gauge_and_the_last_of_a_counter(self, store: Store) -> None:
        self.commit(store, batch(rows(
            [0, 4, 9.999, 10, 25], {"power_watts": [1.0, 2.0, 6.0, 10.0, 20.0]},
            {"energy_joules_total": [1.0, 2.0, 3.0, 4.0, nan]},
        )))
        table = store.history(ask("power_watts", "energy_joules_total", start=0, end=30, step=10))
        assert seconds(table) == [0, 10, 20]
        assert np.array_equal(table.values, [[3.0, 3.0], [10.0, 4.0], [20.0, nan]], equal_nan=True)

    def test_steps_are_counted_from_the_start_that_was_asked_for(self, store: Store) -> None:
        self.commit(store, batch(rows([0, 4, 9, 12], {"power_watts": [1.0, 2.0, 6.0, 10.0]})))
        table = store.history(ask("power_watts", start=3, end=12, step=6))
        assert seconds(table) == [3, 9]
        assert table.values.tolist() == [[2.0], [6.0]]

    def test_the_end_is_not_included_and_the_oldest_rows_come_first(self, store: Store) -> None:
        self.commit(store, batch(rows([5, 1, 3, 9], {"power_watts": [5.0, 1.0, 3.0, 9.0]})))
        assert seconds(store.history(ask("power_watts", start=1, end=9))) == [1, 3, 5]
        assert seconds(store.history(ask("power_watts", limit=2))) == [1, 3]

    def test_a_device_whose_tags_changed_keeps_its_history(self, store: Store) -> None:
        self.commit(
            store,
            batch(rows([1], {"power_watts": [1.0]}), lo=1),
            batch(rows([2], {"power_watts": [2.0]}, series=1), lo=2, series=[GPU, MOVED]),
        )
        assert store.history(ask("power_watts")).values.tolist() == [[1.0], [2.0]]
        assert not len(store.history(ask("power_watts", uuid="GPU-2")).time)

    def test_a_column_that_is_no_metric_is_refused_by_name(self, store: Store) -> None:
        with pytest.raises(StoreError, match="powr_watts"):
            store.history(ask("powr_watts"))

    def test_facts_are_numbers(self, store: Store) -> None:
        self.commit(store, batch(rows([1], {"power_watts": [1.0]})))
        assert all(value == value and value >= 0 for value in store.facts().values())
