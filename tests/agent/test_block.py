"""Folding the samples between two reports, cell by cell."""

from collections.abc import Mapping, Sequence
from math import isnan, nan

import pytest

from fallow_agent.block import Block, folded, metrics_of
from fallow_agent.readers.messages import Opened
from fallow_agent.readers.reader import DeviceIdentity, Reading
from fallow_proto.metrics import Fold, Group
from fallow_proto.v1 import telemetry_pb2 as pb

COLUMNS = ("temperature_celsius", "utilization_ratio", "energy_joules_total", "memory_available_bytes")


def device(uuid: str, *unsupported: str) -> DeviceIdentity:
    return DeviceIdentity(uuid=uuid, vendor="acme", model="One", index=0, unsupported=frozenset(unsupported))


def block(*uuids: str, columns: Sequence[str] = COLUMNS) -> Block:
    opened = Opened(tuple(device(uuid) for uuid in uuids or ("a",)), {Group.FAST: tuple(columns)})
    return Block("acme", Group.FAST, opened, 1.0, 10.0)


def known(cells: Sequence[float]) -> list[float | None]:
    return [None if isnan(cell) else cell for cell in cells]


@pytest.mark.parametrize(
    ("fold", "samples", "result"),
    [
        (Fold.MAX, (1.0, 3.0, 2.0), 3.0),
        (Fold.MAX, (nan, 3.0, nan), 3.0),
        (Fold.MAX, (nan, nan), nan),
        (Fold.MIN, (2.0, 1.0, 3.0), 1.0),
        (Fold.MIN, (nan, 1.0, nan), 1.0),
        (Fold.LAST, (1.0, 2.0), 2.0),
        (Fold.LAST, (1.0, nan), nan),
        (Fold.LAST, (nan, 1.0), 1.0),
    ],
)
def test_an_unknown_sample_neither_hides_a_peak_nor_becomes_one(
    fold: Fold, samples: tuple[float, ...], result: float
) -> None:
    value = nan
    for sample in samples:
        value = folded(fold, value, sample)
    assert value == result or (isnan(value) and isnan(result))


def test_columns_stand_in_the_order_of_the_metric_table_gauges_apart_from_counters() -> None:
    wire = block().wire
    assert list(wire.gauges) == ["utilization_ratio", "temperature_celsius", "memory_available_bytes"]
    assert list(wire.counters) == ["energy_joules_total"]


def test_a_column_stays_when_at_least_one_device_has_it() -> None:
    columns: dict[Group, tuple[str, ...]] = {Group.FAST: ("power_watts", "energy_joules_total", "no_such_metric")}
    both = Opened((device("a", "power_watts", "energy_joules_total"), device("b", "energy_joules_total")), columns)
    assert [metric.name for metric in metrics_of(Group.FAST, both)] == ["power_watts"]
    assert metrics_of(Group.FAST, Opened((), columns)) == []
    assert metrics_of(Group.SLOW, both) == []


def test_counted_processes_bring_the_column_of_those_that_hold_nothing() -> None:
    opened = Opened((device("a"),), {Group.FAST: ("processes",)})
    assert [metric.name for metric in metrics_of(Group.FAST, opened)] == ["processes", "processes_exempt"]


@pytest.mark.parametrize(
    ("samples", "gauges", "counters"),
    [
        (({"utilization_ratio": 0.0, "temperature_celsius": 40.0},), [0.0, 40.0, None], [None]),
        (
            (
                {"utilization_ratio": 0.9, "memory_available_bytes": 5.0, "energy_joules_total": 10.0},
                {"utilization_ratio": 0.0, "memory_available_bytes": 9.0, "energy_joules_total": 11.0},
            ),
            [0.9, None, 5.0],
            [11.0],
        ),
        (({"utilization_ratio": 0.9}, {}), [0.9, None, None], [None]),
    ],
)
def test_a_report_keeps_the_peak_and_a_counters_last_value(
    samples: Sequence[Mapping[str, float]], gauges: list[float | None], counters: list[float | None]
) -> None:
    one = block()
    for number, values in enumerate(samples):
        one.sample([Reading("a", values)], float(number))
    readings = one.report(0)
    assert known(readings.gauges) == pytest.approx(gauges)
    assert known(readings.counters) == counters
    assert list(readings.reasons) == []


@pytest.mark.parametrize("absurd", [1.5, -0.1, float("inf"), 2.0**32, nan])
def test_a_value_that_cannot_be_is_not_known(absurd: float) -> None:
    one = block(columns=["utilization_ratio"])
    one.sample([Reading("a", {"utilization_ratio": absurd})], 0.0)
    assert known(one.report(0).gauges) == [None]


def test_rows_stand_in_the_order_of_the_layout_whatever_order_they_come_in() -> None:
    one = block("a", "b", columns=["power_watts"])
    one.sample([Reading("b", {"power_watts": 2.0}), Reading("gone", {"power_watts": 9.0})], 0.0)
    readings = one.report(3)
    assert readings.block == 3
    assert known(readings.gauges) == [None, 2.0]
    assert list(readings.reasons) == [pb.REASON_FAILED, pb.REASON_OK]


def test_a_sample_that_failed_is_said_beside_the_peak_of_the_others() -> None:
    one = block("a", "b", columns=["utilization_ratio"])
    one.sample([Reading("a", {"utilization_ratio": 0.8}), Reading("b", {"utilization_ratio": 0.0})], 0.0)
    one.sample([Reading("a", reason=pb.REASON_LOST), Reading("b", {"utilization_ratio": 0.0})], 1.0)
    one.sample([Reading("a", {"utilization_ratio": 0.0}), Reading("b", {"utilization_ratio": 0.0})], 2.0)
    readings = one.report(0)
    assert known(readings.gauges) == pytest.approx([0.8, 0.0])
    assert list(readings.reasons) == [pb.REASON_LOST, pb.REASON_OK]


def test_time_in_which_nobody_looked_does_not_pass_for_quiet() -> None:
    one = block(columns=["utilization_ratio"])
    one.sample([Reading("a", {"utilization_ratio": 0.0})], 0.0)
    one.sample([Reading("a", {"utilization_ratio": 0.0})], 4.0)
    assert list(one.report(0).reasons) == [pb.REASON_TIMEOUT]
    one.sample([Reading("a", {"utilization_ratio": 0.0})], 5.0)
    assert list(one.report(0).reasons) == []


def test_nothing_is_left_over_for_the_next_report() -> None:
    one = block(columns=["utilization_ratio"])
    one.sample([Reading("a", {"utilization_ratio": 0.8})], 0.0)
    one.report(0)
    assert not one.sampled
    one.sample([Reading("a", {"utilization_ratio": 0.1})], 1.0)
    assert known(one.report(0).gauges) == pytest.approx([0.1])
