"""How long is waited between attempts."""

import pytest

from fallow_collector.alerts.backoff import backoff_s, is_dead, pause_s, retry_s
from fallow_collector.alerts.receivers.verdict import Again, Refused

DAY = 86_400.0


def test_pauses_grow_to_ten_minutes() -> None:
    assert [backoff_s(failures, 0.5) for failures in range(1, 11)] == [1, 2, 5, 10, 30, 60, 120, 300, 600, 600]


def test_chance_moves_a_pause_by_a_fifth() -> None:
    assert (backoff_s(6, 0.0), backoff_s(6, 1.0)) == (48.0, 72.0)


@pytest.mark.parametrize(("asked", "retry", "pause"), [
    (None, 1.0, 0.5), (0.0, 1.0, 0.5), (30.0, 32.0, 30.0), (3600.0, 902.0, 900.0),
])
def test_a_receiver_may_ask_for_more_time_but_for_no_more_than_a_quarter_of_an_hour(
    asked: float | None, retry: float, pause: float
) -> None:
    assert retry_s(Again(asked, ""), 1, 0.5) == retry
    assert pause_s(Again(asked, ""), 1, 0.5) == pause


def test_what_is_refused_comes_again_slowly() -> None:
    assert retry_s(Refused(""), 1, 0.5) == 600.0


@pytest.mark.parametrize("failures", range(1, 12))
@pytest.mark.parametrize("asked", [None, 1.0, 1000.0])
def test_another_notification_gets_its_turn_before_the_one_that_failed(failures: int, asked: float | None) -> None:
    assert pause_s(Again(asked, ""), failures, 1.0) < retry_s(Again(asked, ""), failures, 0.0)


@pytest.mark.parametrize(("verdict", "refusals", "age_s", "expected"), [
    (Again(None, ""), 0, DAY - 1, False), (Again(None, ""), 0, DAY, True), (Again(None, ""), 50, 60.0, False),
    (Refused(""), 11, 60.0, False), (Refused(""), 12, 60.0, True), (Refused(""), 1, DAY, True),
])
def test_what_is_refused_twelve_times_or_fails_for_a_day_is_dead(
    verdict: Again | Refused, refusals: int, age_s: float, expected: bool
) -> None:
    assert is_dead(verdict, refusals, age_s) == expected
