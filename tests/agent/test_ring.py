"""The ring holds the last seconds of reports, and knows where a collector's evidence ends."""

import math

from fallow_agent.ring import LONGEST_S, Ring
from tests.agent.builders import report


def filled(*epochs: tuple[str, int]) -> Ring:
    """A report a second: (epoch, how many)."""
    ring = Ring()
    now = 0.0
    for epoch, count in epochs:
        for seq in range(1, count + 1):
            ring.put(report(seq, epoch), now)
            now += 1.0
    return ring


def seqs(ring: Ring, position: int) -> list[tuple[str, int]]:
    return [(item.epoch, item.seq) for item in ring.since(position)]


def test_it_keeps_the_seconds_that_were_asked_for() -> None:
    ring = Ring()
    ring.keep_for(10.0)
    for second in range(100):
        ring.put(report(second + 1), float(second))
    assert seqs(ring, 0) == [("a", seq) for seq in range(90, 101)]
    assert (ring.start, ring.end) == (89, 100)


def test_no_collector_makes_it_keep_for_ever() -> None:
    for asked in (1e9, math.inf):
        ring = Ring()
        ring.keep_for(asked)
        ring.put(report(1), 0.0)
        ring.put(report(2), LONGEST_S + 1.0)
        assert seqs(ring, 0) == [("a", 2)]


def test_a_length_of_time_that_is_none_is_ignored() -> None:
    for asked in (math.nan, -1.0, 0.0):
        ring = filled(("a", 3))
        ring.keep_for(asked)
        ring.put(report(4), 3.0)
        assert len(seqs(ring, 0)) == 4


def test_evidence_goes_on_after_the_last_one_that_was_judged() -> None:
    ring = filled(("a", 5))
    assert seqs(ring, ring.position_after("a", 3)) == [("a", 4), ("a", 5)]
    assert seqs(ring, ring.position_after("a", 5)) == []


def test_all_of_it_is_evidence_for_whom_judged_another_epoch_or_none() -> None:
    ring = filled(("a", 3))
    assert len(seqs(ring, ring.position_after("earlier run", 77))) == 3
    assert len(seqs(ring, ring.position_after("", 0))) == 3


def test_evidence_goes_on_over_a_change_of_epoch() -> None:
    ring = filled(("a", 3), ("b", 2))
    assert seqs(ring, ring.position_after("a", 2)) == [("a", 3), ("b", 1), ("b", 2)]
    assert seqs(ring, ring.position_after("b", 1)) == [("b", 2)]


def test_positions_stay_true_when_old_reports_are_gone() -> None:
    ring = filled(("a", 200))
    position = ring.position_after("a", 190)
    for second in range(200, 210):
        ring.put(report(second + 1), float(second))
    assert [seq for _, seq in seqs(ring, position)] == list(range(191, 211))
    assert [seq for _, seq in seqs(ring, 0)] == list(range(90, 211))
