"""Offers merged into one batch: nothing is lost, nothing changes its place among its like."""

import numpy as np

from fallow_collector.batches import joined, merged_rows, merged_spans
from fallow_collector.series import Source, Span
from fallow_collector.stores.store import Outcome, Rows


def rows(names: tuple[str, ...], *times: int) -> Rows:
    count = len(times)
    return Rows(
        np.array(times, dtype=np.int64), np.arange(count, dtype=np.int32), names,
        np.full((count, len(names)), times[0], dtype=np.float32), ("energy_joules_total",),
        np.full((count, 1), times[0], dtype=np.float64),
    )


def test_blocks_of_the_same_columns_become_one_in_their_order() -> None:
    power, heat = ("power_watts",), ("temperature_celsius",)
    first, second = merged_rows([rows(power, 1, 2), rows(heat, 3), rows(power, 4)])
    assert (first.gauge_names, first.time_ms.tolist(), first.series.tolist()) == (power, [1, 2, 4], [0, 1, 0])
    assert (first.gauges[:, 0].tolist(), first.counters[:, 0].tolist()) == ([1.0, 1.0, 4.0], [1.0, 1.0, 4.0])
    assert (second.gauge_names, second.time_ms.tolist()) == (heat, [3])


def test_a_single_block_is_passed_on_as_it_is() -> None:
    only = rows(("power_watts",), 1)
    assert merged_rows([only])[0] is only
    assert merged_rows([]) == []


def test_neighbouring_numbers_of_a_source_become_one_span() -> None:
    a, b = Source("n1", "e1"), Source("n2", "e1")
    spans = [Span(a, 1, 2), Span(b, 7, 7), Span(a, 3, 3), Span(a, 9, 9)]
    assert merged_spans(spans) == [Span(a, 1, 3), Span(b, 7, 7), Span(a, 9, 9)]


def test_outcomes_add_up() -> None:
    a, b = Span(Source("n", "e"), 1, 1), Span(Source("n", "e"), 2, 2)
    both = joined(Outcome(committed=[a], refused_rows=1), Outcome(committed=[b], refused_rows=2, message="m"))
    assert (both.committed, both.refused_rows, both.message) == ([a, b], 3, "m")
