"""Recordings: a table of what was read becomes reports of one node."""

import gzip
from collections.abc import Iterator
from math import isnan
from pathlib import Path

import pytest

from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_sim.node import Node
from fallow_sim.recording import METRICS, Moment, RecordingError, read, reports
from fallow_sim.replay import Replay, beats, replay_reports

HEADER = "unix_s,device,power_w,gpu_util_pct,vram_total_b,vram_used_b\n"


def file(tmp_path: Path, rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "recording.csv"
    path.write_text(header + rows)
    return path


def moments(*times: float, **values: float) -> Iterator[Moment]:
    return iter([Moment(time, {"card0": values}) for time in times])


def test_values_are_converted_once_and_what_is_empty_is_absent(tmp_path: Path) -> None:
    path = file(tmp_path, "100,card0,152.5,50,1000,10\n100,card1,,,1000,\n")
    assert list(read(path)) == [
        Moment(100.0, {
            "card0": {
                "power_watts": 152.5, "utilization_ratio": 0.5,
                "memory_limit_bytes": 1000.0, "memory_usage_bytes": 10.0,
            },
            "card1": {"memory_limit_bytes": 1000.0},
        })
    ]


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("time,device,power_w\n", "1,card0,5\n", "no column unix_s"),
        ("unix_s,device,watts\n", "1,card0,5\n", "none of the columns power_w"),
        (HEADER, "1,card0,much,,,\n", "line 2: 'much' is not a number"),
        (HEADER, "soon,card0,5,,,\n", "'soon' is not a number"),
        (HEADER, "2,card0,5,,,\n1,card0,5,,,\n", "line 3: time 1 does not rise"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_place(tmp_path: Path, header: str, rows: str, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        list(read(file(tmp_path, rows, header)))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress(HEADER.encode())[:-6])
    for path in (tmp_path / "missing.csv", tmp_path / "torn.csv.gz"):
        with pytest.raises(RecordingError, match=path.name):
            list(read(path))


def test_what_is_read_at_different_moments_becomes_one_report_an_interval() -> None:
    rows = [
        Moment(0.0, {"card0": {"power_watts": 150.0}}),
        Moment(1.0, {"card0": {"utilization_ratio": 0.0}}),
        Moment(5.0, {"card0": {"power_watts": 151.0}}),
        Moment(6.0, {"card0": {"utilization_ratio": 0.2}}),
    ]
    assert list(reports(iter(rows), 5.0)) == [
        Moment(1.0, {"card0": {"power_watts": 150.0, "utilization_ratio": 0.0}}),
        Moment(6.0, {"card0": {"power_watts": 151.0, "utilization_ratio": 0.2}}),
    ]


def test_a_burst_between_two_reports_is_not_lost() -> None:
    rows = [Moment(float(t), {"card0": {"utilization_ratio": 1.0 if t == 2 else 0.0}}) for t in range(10)]
    assert [moment.readings["card0"]["utilization_ratio"] for moment in reports(iter(rows), 5.0)] == [1.0, 0.0]


def test_a_value_is_held_for_one_and_a_half_intervals_and_then_not_known() -> None:
    rows = [Moment(0.0, {"card0": {"power_watts": 150.0}})]
    rows += [Moment(float(t), {"card0": {"utilization_ratio": 0.0}}) for t in (7, 12)]
    assert [moment.readings["card0"] for moment in reports(iter(rows), 5.0)] == [
        {"power_watts": 150.0},
        {"power_watts": 150.0, "utilization_ratio": 0.0},
        {"utilization_ratio": 0.0},
    ]


def test_a_gap_stays_a_gap() -> None:
    assert [m.time for m in reports(moments(0, 5, 60, 65, power_watts=1.0), 5.0)] == [0, 5, 60, 65]


def replay(speed: float, times: tuple[float, ...] = (1000.0, 1005.0, 1100.0)) -> Replay:
    return Replay(
        list(moments(*times, power_watts=150.0)), node="n", site="s", start=9000.0, speed=speed, interval_s=5.0
    )


def times_ms(source: Replay) -> list[int]:
    batch = pb.Reports()
    source.fill(batch, 1, len(source.moments))
    return [report.time_ms for report in batch.reports]


def test_at_its_own_speed_a_replay_is_of_now() -> None:
    assert times_ms(replay(1.0)) == [9_000_000, 9_005_000, 9_100_000]


def test_a_faster_replay_ends_at_the_moment_it_is_sent_and_never_is_of_the_future() -> None:
    source = replay(10.0)
    assert times_ms(source) == [8_910_000, 8_915_000, 9_010_000]
    node = Node(source)
    sent = []
    for beat in beats(node, source):
        beat.make()
        sent.append((beat.after_s, node.newest))
    assert sent == [(0.0, 1), (0.5, 2), (10.0, 3)]
    assert all(time <= 1000 * source.due(seq) for seq, time in enumerate(times_ms(source), start=1))


def test_evidence_is_counted_in_recorded_time() -> None:
    source = replay(10.0)
    assert [source.oldest_within(3, seconds) for seconds in (10.0, 95.0, 200.0)] == [3, 2, 1]
    assert source.oldest_within(0, 10.0) == 1


def test_an_empty_recording_is_refused() -> None:
    with pytest.raises(RecordingError, match="empty"):
        replay(1.0, times=())


@pytest.mark.parametrize(("name", "expected"), [("bs1", 551), ("bs8", 399)])
def test_the_real_recording_is_complete_from_the_first_report_on(
    shared_data: Path, name: str, expected: int
) -> None:
    path = shared_data / f"mi300x_8gpu_{name}.csv.gz"
    said = list(replay_reports(path, 5.0))
    assert len(said) == expected
    assert {device for moment in said for device in moment.readings} == {f"card{n}" for n in range(8)}
    whole = [moment for moment in said if all(len(values) == len(METRICS) for values in moment.readings.values())]
    assert len(whole) >= len(said) - 1  # the last report's utilization had not been read when the recording ended
    holders = {
        device
        for moment in whole
        for device, values in moment.readings.items()
        if values["memory_usage_bytes"] > 1e10
    }
    assert holders == {"card0"}


def test_a_replayed_report_holds_what_its_layout_says_and_nothing_that_was_not_recorded(shared_data: Path) -> None:
    source = Replay(
        list(replay_reports(shared_data / "mi300x_8gpu_bs1.csv.gz", 5.0)),
        node="n", site="s", start=0.0, speed=1.0, interval_s=5.0,
    )
    batch = pb.Reports()
    source.fill(batch, 1, 1)
    block, readings = source.layout.blocks[0], batch.reports[0].readings[0]
    assert len(block.devices) == 8
    assert len(readings.gauges) == 8 * len(block.gauges)
    assert not any(isnan(value) for value in readings.gauges)
    device = source.hello().devices[0]
    assert (device.vendor, device.model) == ("amd", "AMD Instinct MI300X")
    assert "processes" in device.unsupported
    assert not {*block.gauges, "power_limit_watts"} & {*device.unsupported}
