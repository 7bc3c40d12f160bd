from hypothesis import given
from hypothesis import strategies as st

from fallow_collector.stores.influx.promql import Evaluation, evaluations, expression
from fallow_collector.stores.influx.table import Columns, bounds_ms
from fallow_collector.stores.store import HistoryQuery


@given(st.integers(0, 200_000), st.integers(-1, 60_000), st.integers(1, 700))
def test_the_windows_are_the_steps_cut_to_the_range_each_once(first: int, length: int, step: int) -> None:
    last = first + length
    windows = []
    for part in evaluations(first, last, step):
        assert part.step_ms == step
        windows += [(at - part.window_ms + 1, at) for at in range(part.first_ms, part.last_ms + 1, step)]
    expected = []
    at = first
    while at <= last:
        end = min(at + step - 1, last)
        expected.append((at, end))
        at = end + 1
    assert windows == expected


def test_long_ranges_are_asked_for_in_parts_of_ten_thousand_points() -> None:
    assert list(evaluations(0, 24_999, 1)) == [
        Evaluation(0, 9_999, 1, 1), Evaluation(10_000, 19_999, 1, 1), Evaluation(20_000, 24_999, 1, 1),
    ]


def test_gauges_are_averaged_and_counters_take_their_last_over_all_series_of_the_device() -> None:
    assert expression("power_watts", 'a"b\\', 1000) == (
        'sum(sum_over_time(device_power_watts{uuid="a\\"b\\\\"}[1000ms])) / '
        'sum(count_over_time(device_power_watts{uuid="a\\"b\\\\"}[1000ms]))'
    )
    assert expression("energy_joules_total", "é", 500) == (
        'max(last_over_time(device_energy_joules_total{uuid="é"}[500ms]))'
    )


def test_columns_with_times_of_their_own_become_one_table() -> None:
    columns = Columns(("a", "b"))
    columns.add("b", [3000, 1000], [3.0, 1.0])
    columns.add("a", [2000, 3000, 4000], [20.0, 30.0, None])
    columns.add("a", [3000], [31.0])
    columns.add("unasked", [9000], [9.0])
    table = columns.table(10)
    assert table.time.tolist() == [1.0, 2.0, 3.0]
    assert [[repr(value) for value in row] for row in table.values.tolist()] == [
        ["nan", "1.0"], ["20.0", "nan"], ["31.0", "3.0"],
    ]
    assert columns.table(2).time.tolist() == [1.0, 2.0]
    assert Columns(("a",)).table(5).values.shape == (0, 1)


def test_the_end_is_not_included_and_milliseconds_are_not_lost_to_binary_fractions() -> None:
    query = HistoryQuery("u", (), start=1_795_308_664.1, end=1_795_308_665.3, step=0)
    assert bounds_ms(query) == (1_795_308_664_100, 1_795_308_665_299)
