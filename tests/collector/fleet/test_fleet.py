"""Reports into arrays: who may write which row, what is refused, what is known for how long."""

from typing import Any

import numpy as np
import pytest

from fallow_collector.fleet.arrival import decode
from fallow_collector.fleet.chunks import gather
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.layouts import LayoutError, bind
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import WITNESSES
from fallow_proto.codec import layout_of
from fallow_proto.metrics import COLUMN
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.watching import BUSY, IDLE, NAN, Watched, device


def block(**more: object) -> pb.Block:
    return pb.Block(**{
        "reader": "r", "group": "fast", "interval_s": 1.0, "devices": ["g0"], "gauges": ["power_watts"], **more,
    })  # type: ignore[arg-type]


@pytest.mark.parametrize(("bad", "message"), [
    (block(group="often"), "group 'often', expected one of fast, medium, slow"),
    (block(interval_s=0.0), "interval of 0.0 s"),
    (block(interval_s=NAN), "interval of nan s"),
    (block(devices=["g0", "g0"]), "a device stands twice"),
    (block(gauges=["power_watts", "power_watts"]), "a metric stands twice"),
])
def test_a_layout_that_makes_no_sense_is_refused(bad: pb.Block, message: str) -> None:
    watched = Watched()
    with pytest.raises(LayoutError, match=message):
        bind(watched.fleet, 0, layout_of([bad]))


def test_a_layout_under_a_wrong_name_is_refused() -> None:
    watched = Watched()
    layout = layout_of([block()])
    layout.blocks[0].gauges[0] = "temperature_celsius"
    with pytest.raises(LayoutError, match="hash"):
        bind(watched.fleet, 0, layout)


@pytest.mark.parametrize("readings", [
    pb.Readings(block=0, gauges=[]),
    pb.Readings(block=0, gauges=[1.0, 2.0]),
    pb.Readings(block=0, gauges=[1.0], counters=[1.0]),
    pb.Readings(block=0, gauges=[1.0], reasons=[pb.REASON_OK, pb.REASON_OK]),
    pb.Readings(block=1, gauges=[1.0]),
])
def test_numbers_that_do_not_fit_the_layout_are_refused(readings: pb.Readings) -> None:
    watched = Watched()
    binding = bind(watched.fleet, 0, layout_of([block()]))
    with pytest.raises(LayoutError):
        decode(binding, "e1", pb.Report(seq=1, time_ms=1, readings=[readings]), 0.0)


def test_metrics_of_a_newer_agent_are_passed_over() -> None:
    watched = Watched()
    binding = bind(watched.fleet, 0, layout_of([block(gauges=["newest_ratio", "power_watts"], counters=["new_total"])]))
    report = pb.Report(seq=1, time_ms=1, readings=[pb.Readings(block=0, gauges=[7.0, 61.0], counters=[1.0])])
    [chunk] = gather([decode(binding, "e1", report, 0.0)])
    assert (chunk.gauge_names, chunk.gauges.tolist(), chunk.counter_names) == (("power_watts",), [[61.0]], ())


def test_infinite_and_absurd_values_are_taken_out_and_counted() -> None:
    watched = Watched(device("g0"), device("g1"))
    layout = layout_of([block(devices=["g0", "g1"], gauges=["power_watts"], counters=["energy_joules_total"])])
    binding = bind(watched.fleet, 0, layout)
    readings = pb.Readings(block=0, gauges=[float("inf"), -5.0], counters=[1e9, -1.0])
    [chunk] = gather([decode(binding, "e1", pb.Report(seq=1, time_ms=1, readings=[readings]), 0.0)])
    assert chunk.absurd == 3
    assert np.isnan(chunk.gauges).all()
    assert chunk.counters[0, 0] == 1e9


def test_a_device_that_its_node_no_longer_names_is_absent_and_comes_back_unverified() -> None:
    watched = Watched(device("g0"), device("g1"))
    watched.stays(62, IDLE, IDLE)
    watched.devices = (device("g0"),)
    watched.hello()
    watched.stays(1, IDLE)
    assert (watched.phase(0), watched.phase(1)) == ("idle", "absent")
    watched.devices = (device("g0"), device("g1"))
    watched.hello()
    assert (watched.phase(0), watched.phase(1)) == ("idle", "verifying")
    watched.stays(1, IDLE, IDLE)
    assert (watched.phase(0), watched.phase(1)) == ("idle", "verifying")


def test_another_run_of_the_agent_follows_on_nothing_however_soon_it_reads_the_device() -> None:
    watched = Watched()
    watched.stays(62, IDLE)
    watched.restart_agent()
    assert watched.phase() == "verifying"
    watched.now += 0.5
    watched.seq = 1
    first = pb.Report(seq=1, time_ms=round((watched.skew + watched.now) * 1000))  # its reader is not up yet
    watched.fleet.apply([decode(watched.binding, watched.epoch, first, watched.now)])
    watched.stays(1, IDLE)
    assert watched.phase() == "verifying"


def test_a_device_whose_model_is_told_later_is_judged_from_nothing() -> None:
    watched = Watched(device("g0", model=""))
    watched.stays(62, IDLE)
    assert watched.phase() == "idle"
    watched.devices = (device("g0"),)
    watched.hello()
    watched.stays(1, IDLE)
    assert watched.phase() == "verifying"


def test_what_was_read_before_a_device_went_away_counts_no_more_whatever_its_node_s_clock_says() -> None:
    watched = Watched(device("g0"), device("g1"))
    watched.skew += 3600
    watched.stays(62, IDLE, IDLE)
    watched.devices = (device("g1"),)
    watched.hello()
    watched.skew -= 3600
    watched.restart_agent()
    watched.stays(1, IDLE)
    watched.devices = (device("g0"), device("g1"))
    watched.hello()
    names = sorted(IDLE.keys() - {"memory_usage_bytes"})
    blind = bind(watched.fleet, 0, layout_of([block(devices=["g0", "g1"], gauges=names)]))
    for _ in range(62):
        watched.now += 1
        watched.seq += 1
        watched.fleet.apply([decode(blind, watched.epoch, pb.Report(
            seq=watched.seq, previous=watched.seq - 1, time_ms=round((watched.skew + watched.now) * 1000),
            readings=[pb.Readings(block=0, gauges=[IDLE[name] for name in names] * 2)],
        ), watched.now)])
    assert (watched.phase(), watched.reasons()) == ("unknown", ["witness_missing"])


def test_a_slow_column_is_neither_nan_every_second_nor_old_news_posing_as_fresh() -> None:
    watched = Watched()
    slow = bind(watched.fleet, 0, layout_of([block(group="medium", interval_s=10.0, gauges=["power_limit_watts"])]))
    readings = pb.Readings(block=0, gauges=[400.0])
    at = round((watched.skew + watched.now) * 1000)
    watched.seq = 1
    watched.fleet.apply([decode(slow, "e1", pb.Report(seq=1, time_ms=at, readings=[readings]), watched.now)])
    quick = {name: value for name, value in IDLE.items() if name != "power_limit_watts"}
    only = bind(watched.fleet, 0, layout_of([block(gauges=sorted(quick))]))
    known = []
    for second in range(1, 31):
        watched.now += 1
        report = pb.Report(
            seq=second + 1, previous=second, time_ms=round((watched.skew + watched.now) * 1000),
            readings=[pb.Readings(block=0, gauges=[quick[name] for name in sorted(quick)])],
        )
        watched.fleet.apply([decode(only, "e1", report, watched.now)])
        known.append(not np.isnan(watched.fleet.current()[0, COLUMN["power_limit_watts"]]))
    assert known == [True] * 25 + [False] * 5


def test_a_report_that_was_judged_is_not_judged_again() -> None:
    watched = Watched()
    old = watched.report(BUSY)
    watched.fleet.apply([old])
    watched.stays(62, IDLE)
    watched.fleet.apply([old])
    assert watched.phase() == "idle"
    assert watched.fleet.judged("n1") == ("e1", 63)


class Stumbling(Engine):
    """Judges, but for once."""

    stumbles = False

    def observe(self, *reading: Any) -> None:
        if self.stumbles:
            raise ArithmeticError
        super().observe(*reading)


def test_readings_that_could_not_be_judged_are_missing_evidence() -> None:
    engine = Stumbling(IdleSettings())
    watched = Watched(engine=engine, fleet=Fleet(engine, WITNESSES))
    watched.stays(62, IDLE)
    assert watched.phase() == "idle"
    engine.stumbles = True
    watched.now += 1
    with pytest.raises(ArithmeticError):
        watched.says(BUSY)
    engine.stumbles = False
    watched.stays(1, IDLE)
    assert watched.phase() == "verifying"


def test_a_restarted_collector_knows_what_was_there_and_nothing_more() -> None:
    watched = Watched(device("g0"), device("g1"))
    watched.stays(62, IDLE, IDLE)
    watched.fleet.declare("g0", "", "", "", "", "super")
    kept = [watched.fleet.seen(row) for row in range(2)]
    engine = Engine(IdleSettings())
    fleet = Fleet(engine, WITNESSES)
    fleet.restore(kept, watched.now)
    again = Watched(device("g0"), device("g1"), fleet=fleet, engine=engine, now=watched.now)
    assert (again.phase(0), again.reasons(0)) == ("unknown", ["lost"])
    assert (bool(fleet.declared[0]), fleet.device_class(0), bool(fleet.declared[1])) == (True, "super", False)
    again.stays(62, IDLE, IDLE)
    assert again.phase(0) == "idle"


def test_a_spooled_report_of_a_device_that_is_gone_keeps_its_name() -> None:
    watched = Watched()
    binding = bind(watched.fleet, 0, layout_of([block(devices=["old"])]))
    assert watched.fleet.series[int(binding.blocks[0].series[0])].uuid == "old"
    assert watched.phase(1) == "absent"


def test_a_fleet_grows_and_keeps_what_it_knows() -> None:
    watched = Watched(device("g0"))
    watched.stays(62, IDLE)
    for number in range(300):
        Watched(device(f"x{number}"), node=f"x{number}", fleet=watched.fleet, engine=watched.engine, now=watched.now)
    assert watched.fleet.count == 301
    assert watched.phase() == "idle"
