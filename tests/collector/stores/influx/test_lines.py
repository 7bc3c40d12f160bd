import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from fallow_collector.stores.influx.bodies import Body, pack
from fallow_collector.stores.influx.lines import Prefixes, Unspeakable, encode, prefix
from fallow_collector.stores.store import Rows, Series
from tests.collector.stores.influx.batches import T0, rows, series


def text_of(block: Rows, *devices: Series) -> list[str]:
    prefixes = Prefixes()
    prefixes.learn(devices or (series(),))
    return b"".join(encoded.body.data for encoded in encode(block, prefixes.array)).decode().splitlines()


def fields_of(line: str) -> dict[str, str]:
    return dict(field.split("=") for field in line.split(" ")[-2].split(","))


def test_tags_are_sorted_escaped_and_left_out_when_empty() -> None:
    tags = Series("", "rack 1,a=b", "GPU-1", "nvidia", 'é "H100"', "intelligent")
    assert prefix(tags) == 'device,class=intelligent,model=é\\ "H100",node=rack\\ 1\\,a\\=b,uuid=GPU-1,vendor=nvidia'


def test_a_tag_never_ends_with_a_backslash() -> None:
    assert "node=a\\b," in prefix(series(node="a\\b\\\\"))


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\x00b", "tab\t"])
def test_a_tag_with_a_control_character_is_refused(bad: str) -> None:
    with pytest.raises(Unspeakable, match=r"GPU-1.*model"):
        prefix(series(model=bad))


def test_rows_of_a_series_that_cannot_be_said_are_named_and_the_others_are_encoded() -> None:
    prefixes = Prefixes()
    prefixes.learn([series("good"), series("bad", model="a\nb")])
    (encoded,) = encode(rows([[1], [2], [np.nan], [4]], positions=[0, 1, 1, 0]), prefixes.array)
    assert encoded.body.lines == 2
    assert encoded.unspeakable.tolist() == [1]  # the row of which nothing is known is no loss
    assert "bad" in prefixes.problems[1]


def test_a_float32_prints_as_short_as_it_can_and_whole_numbers_print_whole() -> None:
    block = rows([[0.1, 80 * 2**30, 300], [71.5, 2**31, 1e30]], ("power_watts", "memory_usage_bytes", "clock_hertz"))
    first, second = text_of(block)
    assert first.endswith(f" power_watts=0.1,memory_usage_bytes=85899345920,clock_hertz=300 {T0}")
    assert fields_of(second) == {"power_watts": "71.5", "memory_usage_bytes": "2147483648", "clock_hertz": "1e+30"}


def test_what_is_not_known_is_left_out_wherever_it_stands() -> None:
    nan, inf = np.nan, np.inf
    block = rows([[nan, 1], [2, nan], [nan, nan], [inf, nan]], ("power_watts", "clock_hertz"),
                 [[nan], [3], [4], [-inf]], ("energy_joules_total",))
    assert [line.split(" ", 1)[1] for line in text_of(block)] == [
        f"clock_hertz=1 {T0}",
        f"power_watts=2,energy_joules_total=3 {T0 + 1000}",
        f"energy_joules_total=4 {T0 + 2000}",
    ]


@given(
    np_st.arrays(np.float32, (7, 3), elements=st.floats(width=32)),
    np_st.arrays(np.float64, (7, 2), elements=st.floats()),
)
def test_every_finite_number_reads_back_exactly_and_no_other_is_said(gauges: np.ndarray, counters: np.ndarray) -> None:
    names, totals = ("power_watts", "clock_hertz", "processes"), ("energy_joules_total", "pcie_replays_total")
    lines = iter(text_of(rows(gauges.tolist(), names, counters.tolist(), totals)))
    for number in range(7):
        expected = {
            **{name: value for name, value in zip(names, gauges[number], strict=True) if np.isfinite(value)},
            **{name: value for name, value in zip(totals, counters[number], strict=True) if np.isfinite(value)},
        }
        if expected:
            line = next(lines)
            assert line.endswith(f" {T0 + 1000 * number}")
            said = fields_of(line)
            assert {name: type(expected[name])(text) for name, text in said.items()} == expected
    assert list(lines) == []


def test_rows_come_in_blocks_of_eight_thousand() -> None:
    n = 20_000
    block = rows(np.arange(n).reshape(n, 1), time_ms=range(n))
    prefixes = Prefixes()
    prefixes.learn([series()])
    assert [encoded.body.lines for encoded in encode(block, prefixes.array)] == [8000, 8000, 4000]


@given(st.lists(st.lists(st.integers(1, 30), max_size=20), max_size=8), st.integers(25, 200))
def test_packing_keeps_every_line_and_the_limit(sizes: list[list[int]], limit: int) -> None:
    bodies = [
        Body(b"".join(b"x" * (size - 1) + b"\n" for size in lines), np.cumsum(lines, dtype=np.int64)) for lines in sizes
    ]
    packed = list(pack(bodies, limit))
    assert b"".join(body.data for body in packed) == b"".join(body.data for body in bodies)
    for body in packed:
        assert len(body.data) <= limit or body.lines == 1
        assert [len(line) for line in body.data.splitlines(keepends=True)] == np.diff(body.ends, prepend=0).tolist()
