"""The clock of an epoch runs on boot time, and a wall clock that stays away begins a new one."""

from fallow_agent.clock import Clock

START = Clock(wall=1_000_000.0, boot=50.0)


def test_reports_are_as_far_apart_as_they_were_whatever_the_wall_clock_does() -> None:
    assert START.time_ms(50.0) == 1_000_000_000
    assert START.time_ms(51.25) == 1_000_001_250


def test_a_wall_clock_that_is_off_for_less_than_a_minute_changes_nothing() -> None:
    clock = START.compared(wall=1_003_600.0, boot=60.0)
    assert not clock.is_outdated(119.9)
    assert clock.compared(wall=1_000_070.5, boot=120.0) == START


def test_a_wall_clock_that_stays_off_for_a_minute_begins_a_new_epoch() -> None:
    for wall in (1_003_600.0, 996_400.0, 0.0, 4e9):
        clock = START.compared(wall, boot=60.0).compared(wall + 30.0, boot=90.0).compared(wall + 60.0, boot=120.0)
        assert clock.off_since == 60.0
        assert clock.is_outdated(120.0)


def test_two_seconds_are_forgiven() -> None:
    assert START.compared(wall=1_000_012.0, boot=60.0) is START
    assert START.off_s(wall=1_000_012.0, boot=60.0) == 2.0
