"""What a lease changes in the judgement: the window after it, and how long a leased device has done nothing."""

import numpy as np

from tests.collector.watching import BUSY, HOLDING, IDLE, Watched

ROW = np.array([0])
RESTING = {
    **HOLDING, "processes_cpu_seconds_total": 100.0, "io_receive_bytes_total": 5e9, "io_transmit_bytes_total": 5e9,
    "link_receive_bytes_total": 5e9, "link_transmit_bytes_total": 5e9,
}


def released(short: bool) -> Watched:
    """A device that was quiet to the end of its lease, and was released just now."""
    watched = Watched()
    watched.stays(100, IDLE)
    watched.engine.restart(ROW, short=short)
    return watched


def still_s(watched: Watched) -> float:
    return float(watched.engine.still_s(ROW, watched.fleet.last_ms[ROW])[0])


def test_what_was_seen_before_the_release_does_not_count() -> None:
    watched = released(short=True)
    assert (watched.phase(), watched.reasons()) == ("verifying", ["window"])
    assert not watched.engine.clean(ROW)[0]


def test_a_released_device_is_idle_after_the_short_window() -> None:
    watched = released(short=True)
    watched.stays(1, IDLE)
    assert watched.engine.clean(ROW)[0]
    watched.stays(9, IDLE)
    assert watched.phase() == "verifying"
    watched.stays(1, IDLE)
    assert watched.phase() == "idle"


def test_a_device_whose_lease_expired_waits_for_the_whole_window() -> None:
    watched = released(short=False)
    watched.stays(60, IDLE)
    assert watched.phase() == "verifying"
    watched.stays(1, IDLE)
    assert watched.phase() == "idle"


def test_the_short_window_starts_when_the_holder_has_left() -> None:
    watched = released(short=True)
    watched.stays(20, HOLDING)
    assert not watched.engine.clean(ROW)[0]
    watched.stays(10, IDLE)
    assert watched.phase() == "verifying"
    watched.stays(1, IDLE)
    assert watched.phase() == "idle"


def test_work_after_it_was_seen_clean_asks_for_the_whole_window() -> None:
    watched = released(short=True)
    watched.stays(3, IDLE)
    watched.stays(2, BUSY)
    watched.stays(30, IDLE)
    assert watched.phase() == "verifying"
    watched.stays(31, IDLE)
    assert watched.phase() == "idle"


def test_a_missing_reading_asks_for_the_whole_window() -> None:
    watched = released(short=True)
    watched.stays(3, IDLE)
    watched.misses(4)
    watched.stays(15, IDLE)
    assert watched.phase() == "verifying"


def test_a_leased_device_rests_from_the_first_reading_that_shows_nothing() -> None:
    watched = Watched()
    watched.stays(30, BUSY)
    watched.stays(101, RESTING)
    assert still_s(watched) == 99  # the first is the end of the work: its counters have moved


def test_a_checkpoint_is_no_rest() -> None:
    watched = Watched()
    watched.stays(100, RESTING)
    writing = {**RESTING, "io_transmit_bytes_total": 25e9}
    watched.stays(1, writing)
    assert still_s(watched) == 0
    watched.stays(50, writing)
    assert still_s(watched) == 49


def test_a_holder_that_computes_on_its_cpus_is_no_rest() -> None:
    watched = Watched()
    watched.stays(100, RESTING)
    watched.stays(1, {**RESTING, "processes_cpu_seconds_total": 103.0})
    assert still_s(watched) == 0


def test_a_burst_after_a_long_rest_is_not_averaged_away() -> None:
    watched = Watched()
    watched.stays(3000, RESTING)
    watched.stays(1, {**RESTING, "processes_cpu_seconds_total": 101.0})
    assert still_s(watched) == 0


def test_a_process_that_only_waits_rests() -> None:
    watched = Watched()
    for second in range(200):
        watched.stays(1, {**RESTING, "processes_cpu_seconds_total": 100 + 0.05 * (second // 10)})
    assert still_s(watched) > 190


def test_nothing_is_said_of_a_rest_where_the_holders_cpu_time_is_not_known() -> None:
    watched = Watched()
    watched.stays(100, HOLDING)
    assert still_s(watched) == 0


def test_a_counter_that_starts_anew_is_no_rest() -> None:
    watched = Watched()
    watched.stays(100, RESTING)
    watched.stays(1, {**RESTING, "processes_cpu_seconds_total": 1.0})
    assert still_s(watched) == 0


def test_a_new_lease_starts_without_the_rest_before_it() -> None:
    watched = Watched()
    watched.stays(100, {**RESTING, "memory_usage_bytes": IDLE["memory_usage_bytes"], "processes": 0.0})
    assert still_s(watched) > 90
    watched.engine.restart(ROW)
    assert still_s(watched) == 0
