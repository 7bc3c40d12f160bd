"""What is asked when, and what reports say of readers that answer, answer late, are stuck, fail or vanish."""

from math import isnan

import pytest

from fallow_agent.readers.messages import Opened, Read
from fallow_agent.readers.reader import DeviceIdentity, Reading
from fallow_agent.readers.status import State, Status
from fallow_agent.sampler import Sampler
from fallow_agent.schedule import Schedule
from fallow_proto.codec import layout_hash
from fallow_proto.metrics import Group
from fallow_proto.v1 import telemetry_pb2 as pb

GPU, HOST = "gpu", "host"
COLUMNS: dict[Group, tuple[str, ...]] = {Group.FAST: ("utilization_ratio",), Group.MEDIUM: ("power_limit_watts",)}


def opened(*uuids: str) -> Opened:
    devices = tuple(DeviceIdentity(uuid, "acme", "One", number) for number, uuid in enumerate(uuids))
    return Opened(devices, COLUMNS)


def fast(value: float, *uuids: str) -> Read:
    return Read({Group.FAST: tuple(Reading(uuid, {"utilization_ratio": value}) for uuid in uuids or ("a",))})


def status(state: State, reason: pb.Reason.ValueType = pb.REASON_OK) -> Status:
    return Status(GPU, state, 0.0, "", reason)


def sampler(interval_s: float = 1.0) -> Sampler:
    made = Sampler(interval_s, start=100.0)
    made.take(GPU, opened("a"), 100.0)
    return made


def blocks_of(made: Sampler, report: pb.Report) -> dict[tuple[str, str], pb.Readings]:
    wire = made.layout.blocks
    return {(wire[r.block].reader, wire[r.block].group): r for r in report.readings}


@pytest.mark.parametrize(
    ("interval_s", "period_s", "ticks_per_report"),
    [(0.1, 0.1, 1), (1.0, 1.0, 1), (2.5, 2.5 / 3, 3), (3.0, 1.0, 3), (10.0, 1.0, 10)],
)
def test_the_fast_group_is_sampled_at_least_once_a_second(
    interval_s: float, period_s: float, ticks_per_report: int
) -> None:
    schedule = Schedule(interval_s, 0.0)
    assert schedule.period_s == pytest.approx(period_s)
    assert schedule.ticks_per_report == ticks_per_report
    assert schedule.reported_every_s(Group.FAST) == pytest.approx(interval_s)
    assert schedule.reported_every_s(Group.MEDIUM) == pytest.approx(10.0, rel=0.05)
    assert schedule.reported_every_s(Group.SLOW) == pytest.approx(60.0, rel=0.05)


@pytest.mark.parametrize("interval_s", [0.1, 0.3, 1.0, 2.5, 7.0])
def test_ticks_are_multiples_of_one_start_and_do_not_drift(interval_s: float) -> None:
    schedule = Schedule(interval_s, 1_234.567)
    assert [schedule.tick_at(schedule.time_of(tick)) for tick in range(0, 100_000, 997)] == list(
        range(0, 100_000, 997)
    )


def test_each_group_is_asked_for_at_its_own_pace_in_one_question() -> None:
    made = sampler()
    asked = []
    for second in range(121):
        asked += [(second, *groups) for groups in made.due(100.0 + second, [GPU]).values()]
        made.take(GPU, fast(0.0), 100.0 + second)
    assert len(asked) == 121
    assert [second for second, *groups in asked if Group.MEDIUM in groups] == list(range(0, 121, 10))
    assert [second for second, *groups in asked if Group.SLOW in groups] == [0, 60, 120]
    assert all(Group.FAST in groups for _, *groups in asked)


def test_nothing_is_asked_twice_within_a_tick_and_late_wakes_move_no_later_tick() -> None:
    made = sampler()
    assert made.due(99.9, [GPU]) == {}
    assert made.due(100.0, [GPU])
    assert made.due(100.9, [GPU]) == {}
    assert made.due(101.4, [GPU])
    assert made.wake_at == 101.5  # the report waits for its answer
    made.report(1, 0, 0)
    assert made.wake_at == 102.0


def test_ticks_that_were_slept_through_are_skipped_and_not_stacked() -> None:
    made = sampler()
    made.due(100.0, [GPU])
    assert list(made.due(150.0, [GPU])) == [GPU]
    assert made.due(150.1, [GPU]) == {}
    assert made.wake_at == 150.5


def test_a_reader_that_is_busy_is_skipped_and_asked_for_what_it_missed_when_it_can_answer() -> None:
    made = sampler()
    made.due(100.0, [GPU])
    for second in range(1, 12):
        assert made.due(100.0 + second, []) == {}
    assert made.due(112.0, [GPU]) == {GPU: (Group.FAST, Group.MEDIUM)}


def test_a_report_goes_out_as_soon_as_all_who_were_asked_have_answered() -> None:
    made = sampler()
    made.take(HOST, opened("h"), 100.0)
    made.due(100.0, [GPU, HOST])
    made.take(GPU, fast(0.5), 100.01)
    assert not made.ready(100.02)
    made.take(HOST, fast(0.1, "h"), 100.03)
    assert made.ready(100.03)
    report = made.report(7, 6, 1_700_000_000_123)
    assert (report.seq, report.previous, report.time_ms) == (7, 6, 1_700_000_000_123)
    assert {key: list(readings.gauges) for key, readings in blocks_of(made, report).items()} == {
        (GPU, "fast"): [0.5],
        (HOST, "fast"): [pytest.approx(0.1)],
    }
    assert not made.ready(100.04)


def test_a_slow_reader_holds_a_report_up_for_half_a_period_and_is_in_the_next_one() -> None:
    made = sampler()
    made.take(HOST, opened("h"), 100.0)
    made.due(100.0, [GPU, HOST])
    made.take(HOST, fast(0.1, "h"), 100.01)
    assert not made.ready(100.49)
    assert made.ready(100.5)
    assert set(blocks_of(made, made.report(1, 0, 0))) == {(HOST, "fast")}
    made.take(GPU, fast(0.9), 100.9)
    made.due(101.0, [HOST])
    made.take(HOST, fast(0.1, "h"), 101.01)
    assert list(blocks_of(made, made.report(2, 1, 0))[GPU, "fast"].gauges) == [pytest.approx(0.9)]


def test_a_seldom_report_carries_the_peak_of_every_second_between() -> None:
    made = sampler(interval_s=10.0)
    reports: list[float] = []
    for second in range(21):
        made.due(100.0 + second, [GPU])
        made.take(GPU, fast(0.97 if second == 13 else 0.0), 100.0 + second)
        if made.ready(100.0 + second):
            reports.append(blocks_of(made, made.report(len(reports) + 1, len(reports), 0))[GPU, "fast"].gauges[0])
    assert reports == pytest.approx([0.0, 0.0, 0.97])
    assert made.layout.blocks[0].interval_s == 10.0


@pytest.mark.parametrize(
    ("state", "reason"),
    [(State.STUCK, pb.REASON_STUCK), (State.FAILED, pb.REASON_DRIVER), (State.FAILED, pb.REASON_FAILED)],
)
def test_a_reader_that_says_nothing_is_reported_unknown_with_the_reason(
    state: State, reason: pb.Reason.ValueType
) -> None:
    made = sampler()
    made.take(GPU, opened("a", "b"), 100.0)
    made.due(100.0, [GPU])
    made.take(GPU, status(state, reason), 100.1)
    for second in (100.1, 101.0):
        made.due(second, [])
        assert made.ready(second)
        readings = blocks_of(made, made.report(1, 0, 0))
        assert set(readings) == {(GPU, "fast")}
        assert all(isnan(value) for value in readings[GPU, "fast"].gauges)
        assert list(readings[GPU, "fast"].reasons) == [reason, reason]


def test_a_reader_that_recovered_speaks_for_itself_again() -> None:
    made = sampler()
    made.due(100.0, [GPU])
    made.take(GPU, status(State.STUCK, pb.REASON_STUCK), 105.0)
    made.report(1, 0, 0)
    made.take(GPU, status(State.OK), 106.0)
    made.due(106.0, [GPU])
    made.take(GPU, fast(0.2), 106.1)
    readings = blocks_of(made, made.report(2, 1, 0))[GPU, "fast"]
    assert list(readings.gauges) == [pytest.approx(0.2)]
    assert list(readings.reasons) == []


def test_a_peak_before_a_reader_got_stuck_is_not_lost() -> None:
    made = sampler(interval_s=10.0)
    made.due(100.0, [GPU])
    made.take(GPU, fast(0.9), 100.1)
    made.take(GPU, status(State.STUCK, pb.REASON_STUCK), 106.0)
    readings = blocks_of(made, made.report(1, 0, 0))[GPU, "fast"]
    assert list(readings.gauges) == [pytest.approx(0.9)]
    assert list(readings.reasons) == [pb.REASON_STUCK]


def test_a_new_list_of_devices_is_a_new_layout_and_the_same_list_is_the_same_one() -> None:
    made = sampler()
    before = made.layout
    assert before.hash == layout_hash(before.blocks)
    made.take(GPU, opened("a"), 101.0)
    assert made.layout == before
    made.take(GPU, opened("a", "b"), 102.0)
    assert made.layout.hash != before.hash
    assert list(made.layout.blocks[0].devices) == ["a", "b"]


def test_a_reader_that_opens_again_with_the_same_devices_keeps_what_was_not_reported() -> None:
    made = sampler(interval_s=10.0)
    made.due(100.0, [GPU])
    made.take(GPU, fast(0.9), 100.1)
    made.take(GPU, opened("a"), 101.0)
    assert list(blocks_of(made, made.report(1, 0, 0))[GPU, "fast"].gauges) == [pytest.approx(0.9)]


def test_devices_of_an_absent_vendor_leave_the_layout_and_the_inventory() -> None:
    made = sampler()
    made.take(HOST, opened("h"), 100.0)
    assert [(reader, device.uuid) for reader, device in made.devices] == [(GPU, "a"), (HOST, "h")]
    made.take(GPU, status(State.ABSENT), 101.0)
    assert [(reader, device.uuid) for reader, device in made.devices] == [(HOST, "h")]
    assert {block.reader for block in made.layout.blocks} == {HOST}


def test_layouts_do_not_depend_on_which_reader_opened_first() -> None:
    one, other = Sampler(1.0, 0.0), Sampler(1.0, 0.0)
    for made, order in ((one, (GPU, HOST)), (other, (HOST, GPU))):
        for reader in order:
            made.take(reader, opened(reader), 0.0)
    assert one.layout == other.layout


def test_before_any_device_is_known_there_is_no_report_and_the_first_one_does_not_wait_for_its_interval() -> None:
    made = Sampler(10.0, 100.0)
    made.due(100.0, [])
    assert not made.ready(100.9)
    assert made.wake_at == 101.0
    made.take(GPU, opened("a"), 100.2)
    made.due(101.0, [GPU])
    made.take(GPU, fast(0.0), 101.1)
    assert made.ready(101.1)
