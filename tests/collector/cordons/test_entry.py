"""When a cordon holds, over clocks that jump and collectors that restart."""

from math import inf

import pytest

from fallow_collector.cordons.entry import Clocks, Entry, kept, reckoned, taken_up
from fallow_collector.cordons.wanted import Unfit, Wanted, check, entries
from fallow_proto.states import Service

NOW, WALL = 5_000.0, 1_700_000_000.0
AT = Clocks(NOW, WALL)
HOUR = 3600.0


def cordon(for_s: float = 0.0) -> Entry:
    (made,) = entries(Wanted(Service.CORDONED, (), ("n1",), "ops", "why", for_s), ["c1"], {}, AT)
    return made


def window(start: float, end: float) -> Entry:
    """start, end: seconds from now."""
    wanted = Wanted(Service.MAINTENANCE, (), ("n1",), "ops", "why", 0.0, WALL + start, WALL + end)
    (made,) = entries(wanted, ["c1"], {}, AT)
    return made


def later(seconds: float, jump: float = 0.0) -> Clocks:
    """So many seconds from now, on a wall clock that jumped in between."""
    return Clocks(NOW + seconds, WALL + seconds + jump)


def test_a_cordon_without_an_end_stands_for_ever() -> None:
    assert cordon().active(*later(1e9))
    assert not cordon().over(*later(1e9, jump=1e9))


@pytest.mark.parametrize("jump", [0.0, -HOUR, HOUR, 1e8])
def test_a_cordon_for_so_long_ends_then_whatever_the_wall_clock_does(jump: float) -> None:
    made = cordon(for_s=60.0)
    assert made.active(*later(59, jump))
    assert not made.active(*later(60, jump))
    assert made.over(*later(60, jump))


def test_a_window_holds_from_its_start_to_its_end() -> None:
    made = window(HOUR, 2 * HOUR)
    assert [made.active(*later(hours * HOUR)) for hours in (0, 0.99, 1, 1.99, 2)] == [False, False, True, True, False]
    assert (made.over(*later(HOUR)), made.over(*later(2 * HOUR))) == (False, True)


@pytest.mark.parametrize("jump", [61.0, 10 * HOUR, -61.0, -10 * HOUR])
def test_a_window_that_has_begun_goes_on_when_the_wall_clock_jumps(jump: float) -> None:
    made = window(0, HOUR)
    assert made.active(*later(1, jump))
    assert made.active(*later(HOUR - 1, jump))


def test_a_jump_over_a_whole_window_does_not_skip_it() -> None:
    made = window(HOUR, 2 * HOUR)
    assert not made.over(*later(60, jump=24 * HOUR))
    assert made.active(*later(1.5 * HOUR, jump=24 * HOUR))


def test_a_window_begins_by_a_wall_clock_that_was_set_right() -> None:
    assert window(HOUR, 2 * HOUR).active(*later(60, jump=1.5 * HOUR))


def test_time_while_the_collector_was_down_does_not_count_against_a_cordon() -> None:
    row = kept(cordon(for_s=100.0), later(40))
    assert row.remaining_s == 60.0
    again = taken_up(row, Clocks(7.0, WALL + 10 * HOUR))
    assert again.active(66.0, WALL)
    assert again.over(67.0, 0.0)


def test_what_is_kept_of_an_endless_cordon_comes_back_endless() -> None:
    row = kept(cordon(), AT)
    assert (row.remaining_s, row.start_ms, row.end_ms) == (None, 0, 0)
    assert taken_up(row, Clocks(3.0, 0.0)) == Entry("c1", Service.CORDONED, "", "n1", "ops", "why", WALL)


def test_a_window_to_come_is_reckoned_anew_after_a_restart() -> None:
    row = kept(window(HOUR, 2 * HOUR), AT)
    assert row.remaining_s is None
    again = taken_up(row, Clocks(0.0, WALL + 600))
    assert (again.from_s, again.until_s) == (3000.0, 6600.0)


@pytest.mark.parametrize(("wall", "left_s"), [
    (WALL + 1200, 2400.0),
    (0.0, 3000.0),  # a machine whose clock was not set when it started: what remained when it was kept
    (WALL + 2 * HOUR, 0.0),  # down until after the window
])
def test_a_window_that_had_begun_goes_on_after_a_restart(wall: float, left_s: float) -> None:
    again = taken_up(kept(window(0, HOUR), later(600)), Clocks(1.0, wall))
    assert [again.active(1.0 + s, wall + s) for s in (0, left_s - 1, left_s)] == [left_s > 0, left_s > 0, False]


def test_a_window_without_an_end_that_had_begun_goes_on_after_a_restart_with_a_wrong_clock() -> None:
    wanted = Wanted(Service.MAINTENANCE, (), ("n1",), "ops", "why", start=WALL - 5)
    (made,) = entries(wanted, ["c1"], {}, AT)
    row = kept(made, AT)
    assert (row.remaining_s, row.end_ms) == (inf, 0)
    assert taken_up(row, Clocks(0.0, 0.0)).active(1e9, 0.0)


def test_both_clocks_are_reckoned_to_agree() -> None:
    assert reckoned(WALL + 5, WALL + 15, AT) == (NOW + 5, NOW + 15)


GOOD = Wanted(Service.CORDONED, ("g0",), (), "ops", "why")


@pytest.mark.parametrize(("changed", "told"), [
    ({"devices": ()}, "devices and nodes are empty"),
    ({"owner": ""}, "owner is empty; expected who cordons"),
    ({"owner": "fallow"}, "is the collector's own name"),
    ({"owner": "a\nb"}, "expected at most 256 printable characters"),
    ({"owner": "o" * 257}, "expected at most 256 printable characters"),
    ({"reason": "\x1b[2J"}, "expected at most 1024 printable characters"),
    ({"reason": "r" * 1025}, "expected at most 1024 printable characters"),
    ({"for_s": -1.0}, "for_s=-1: expected seconds from 0"),
    ({"for_s": 1e9}, "for_s=1e+09: expected seconds from 0 (until it is lifted) to 31622400"),
    ({"end": WALL + 5}, "kind=cordoned: has no start and end; expected for_s, or kind=maintenance"),
    ({"kind": Service.MAINTENANCE, "end": WALL - 5}, "the window ended 5 s ago"),
    ({"kind": Service.MAINTENANCE, "start": WALL - 100, "for_s": 60.0}, "the window ended 40 s ago"),
    ({"kind": Service.MAINTENANCE, "start": 253402300799.0, "for_s": 3600.0}, "more than 10 years from now"),
    ({"kind": Service.MAINTENANCE, "end": 253402300799.0}, "more than 10 years from now"),
    ({"kind": Service.MAINTENANCE, "start": -1e11}, "more than 10 years from now"),
    ({"kind": Service.MAINTENANCE, "start": WALL + 9, "end": WALL + 4}, "end: is 5 s before start; expected"),
    ({"kind": Service.MAINTENANCE, "start": WALL + 9, "end": WALL + 9}, "expected start < end"),
    ({"kind": Service.MAINTENANCE, "end": WALL + 9, "for_s": 9.0}, "end and for_s are both given"),
])
def test_what_cannot_be_meant_is_refused_with_what_would_be_right(changed: dict[str, object], told: str) -> None:
    with pytest.raises(Unfit) as refused:
        check(GOOD._replace(**changed), WALL)  # type: ignore[arg-type]
    assert told in str(refused.value)


@pytest.mark.parametrize("changed", [
    {}, {"nodes": ("n1",)}, {"for_s": 60.0}, {"kind": Service.DRAINING},
    {"kind": Service.MAINTENANCE}, {"kind": Service.MAINTENANCE, "for_s": 60.0},
    {"kind": Service.MAINTENANCE, "start": WALL - 60, "end": WALL + 60},
    {"kind": Service.MAINTENANCE, "start": WALL + 60}, {"kind": Service.MAINTENANCE, "end": WALL + 60},
])
def test_what_can_be_meant_is_taken(changed: dict[str, object]) -> None:
    check(GOOD._replace(**changed), WALL)  # type: ignore[arg-type]
