"""History over any mixture of hot slices, files, hour files and roll-ups equals that of a plain array."""

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fallow_collector.stores.embedded.files import Contents, File, FileKind
from fallow_collector.stores.embedded.history import Plan, Window, plan
from fallow_collector.stores.store import Batch, Series, Source, Span
from fallow_proto.metrics import BY_NAME, Kind
from tests.collector.stores.contract import START, ask, rows
from tests.collector.stores.embedded.conftest import Place, close_slices, compact

GAUGES = ("power_watts", "temperature_celsius")
COUNTERS = ("energy_joules_total",)
COLUMNS = (*GAUGES, *COUNTERS)
DEVICES = [Series("default", f"node-{n}", f"GPU-{n}", "nvidia", "NVIDIA H100", "intelligent") for n in range(3)]


class Written(NamedTuple):
    """One write of one device, and what was done to the store before it."""

    first: str
    device: int
    at: list[int]  # seconds after START, none twice
    values: NDArray[np.float64]  # [row, column]


values = st.one_of(st.just(np.nan), st.integers(0, 100).map(float))


@st.composite
def histories(draw: st.DrawFn) -> list[Written]:
    seen: list[set[int]] = [set(), set(), set()]
    history = []
    for _ in range(draw(st.integers(1, 8))):
        device = draw(st.integers(0, 2))
        # Mostly near each other, also late by hours.
        second = st.one_of(st.integers(0, 300), st.integers(0, 14_400))
        at = sorted(set(draw(st.lists(second, min_size=1, max_size=12))) - seen[device])
        seen[device].update(at)
        matrix = np.array([[draw(values) for _ in COLUMNS] for _ in at]).reshape(len(at), len(COLUMNS))
        history.append(Written(draw(st.sampled_from(["", "", "close", "compact"])), device, at, matrix))
    return history


def expected(history: list[Written], device: int, start: int, end: int, step: int) -> list[list[float | None]]:
    """The model: [time, value…], None where not known."""
    at = [second for one in history if one.device == device for second in one.at]
    known = [row for one in history if one.device == device for row in one.values]
    table = sorted((second, *row) for second, row in zip(at, known, strict=True) if start <= second < end)
    if not step:
        return [_nulls(row) for row in table if not np.isnan(row[1:]).all()]
    answer: list[list[float | None]] = []
    for begin in range(start, end, step):
        inside = np.array([row[1:] for row in table if begin <= row[0] < begin + step]).reshape(-1, len(COLUMNS))
        row = [float(begin)]
        for number, name in enumerate(COLUMNS):
            column = inside[:, number]
            column = column[~np.isnan(column)]
            counter = BY_NAME[name].kind is Kind.COUNTER
            row.append(np.nan if not len(column) else column[-1] if counter else float(np.mean(column)))
        if not np.isnan(row[1:]).all():
            answer.append(_nulls(row))
    return answer


def _nulls(row: object) -> list[float | None]:
    return [None if value != value else round(float(value), 4) for value in row]  # type: ignore[attr-defined]


@settings(max_examples=25, deadline=None)
@given(histories(), st.data())
def test_any_mixture_of_places_answers_like_a_plain_array(history: list[Written], data: st.DataObject) -> None:
    folder = Path(tempfile.mkdtemp())
    place = Place(folder / "store")
    try:
        store, _ = place.open()
        now = START
        for number, one in enumerate(history):
            if one.first:
                close_slices(store, now + 601)
                now += 3600
            if one.first == "compact":
                compact(store, now)
            gauges = dict(zip(GAUGES, one.values.T, strict=False))
            counters = dict(zip(COUNTERS, one.values.T[len(GAUGES):], strict=True))
            block = rows(one.at, gauges, counters, series=one.device)
            store.write(Batch([block], [Span(Source("n", "e"), number, number)], DEVICES), now)
        for _ in range(4):
            device = data.draw(st.integers(0, 2))
            # Whole minutes are what may be answered from roll-ups.
            grain = data.draw(st.sampled_from([1, 60]))
            start = data.draw(st.integers(0, 14_400 // grain)) * grain
            end = data.draw(st.integers(start // grain, 14_460 // grain)) * grain
            step = data.draw(st.sampled_from([0, 7, 60, 120, 3600]))
            table = store.history(ask(*COLUMNS, start=start, end=end, step=step, uuid=DEVICES[device].uuid))
            found = [_nulls([time - START, *row]) for time, row in zip(table.time, table.values, strict=True)]
            assert found == expected(history, device, start, end, step)
    finally:
        place.close()
        shutil.rmtree(folder)


def _file(kind: FileKind, number: int, first: int, last: int) -> File:
    return File(f"{kind}-{number}", kind, number, 0, first, last, 1, 1, ())


HOUR, ROLLED = _file(FileKind.HOUR, 1, 0, 3_599_000), _file(FileKind.MINUTE, 1, 0, 3_599_000)
GONE = _file(FileKind.MINUTE, 2, 3_600_000, 7_199_000)  # its hour file is past retention
SLICE = _file(FileKind.SLICE, 9, 7_200_000, 7_800_000)
CONTENTS = Contents((), (HOUR, ROLLED, GONE, SLICE))


def test_rows_as_they_came_are_read_where_they_still_are() -> None:
    assert plan(CONTENTS, Window(0, 9_000_000, 0)) == Plan((), (HOUR, SLICE), ())
    assert plan(CONTENTS, Window(0, 9_000_000, 7_000)) == Plan((), (HOUR, SLICE), (GONE,))


def test_whole_minutes_are_read_from_rollups() -> None:
    assert plan(CONTENTS, Window(0, 9_000_000, 60_000)) == Plan((), (SLICE,), (ROLLED, GONE))
    assert plan(CONTENTS, Window(1_000, 9_000_000, 60_000)) == Plan((), (HOUR, SLICE), (GONE,))


def test_a_range_that_ends_within_an_hour_file_is_answered_from_its_rows() -> None:
    assert plan(CONTENTS, Window(0, 1_000_000, 60_000)) == Plan((), (HOUR,), ())


def test_files_outside_the_range_are_not_opened() -> None:
    assert plan(CONTENTS, Window(7_900_000, 9_000_000, 0)) == Plan((), (), ())
