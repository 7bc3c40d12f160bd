from fallow_collector.stores.influx.settle import Alive, Broken, Silent, Verdict, Written, judge
from tests.collector.stores.influx.batches import span

EARLY = Written((span(1), span(2)), due=115.0, start=50.0)
LATE = Written((span(3),), due=120.0, start=50.0)


def test_what_is_due_settles_when_the_same_process_is_seen_alive() -> None:
    assert judge([EARLY, LATE], Alive(50.0), now=115.0) == Verdict([span(1), span(2)], [], [LATE])


def test_nothing_settles_before_it_is_due() -> None:
    assert judge([EARLY, LATE], Alive(50.0), now=114.9) == Verdict([], [], [EARLY, LATE])


def test_another_process_has_lost_what_the_one_before_took_even_if_it_was_due() -> None:
    mine = Written((span(4),), due=130.0, start=117.0)
    assert judge([EARLY, LATE, mine], Alive(117.0), now=118.0) == Verdict([], [span(1), span(2), span(3)], [mine])


def test_a_broken_connection_loses_all_that_waits() -> None:
    assert judge([EARLY, LATE], Broken(), now=200.0) == Verdict([], [span(1), span(2), span(3)], [])


def test_silence_proves_nothing_either_way() -> None:
    assert judge([EARLY], Silent(), now=200.0) == Verdict([], [], [EARLY])


def test_a_server_that_never_says_since_when_it_runs_settles_by_time_alone() -> None:
    write = Written((span(1),), due=115.0, start=None)
    assert judge([write], Alive(None), now=115.0).settled == [span(1)]


def test_a_server_that_no_longer_says_so_is_taken_for_another() -> None:
    assert judge([EARLY], Alive(None), now=115.0).lost == [span(1), span(2)]
