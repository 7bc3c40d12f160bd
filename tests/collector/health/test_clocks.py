"""The collector's wall clock is set: what is wrong stays wrong for as long as it would have been, and no longer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collector.health.clinic import FULL, Clinic
from tests.collector.health.told import event

HOUR_S = 3600
DECADE_S = 10 * 365 * 86_400
ASKS = {**FULL, "recovery_action": 1.0}
OUTSIDE = {**FULL, "fabric_state": 1.0}  # degraded after 600 s of it

steps = pytest.mark.parametrize("seconds", [HOUR_S, -HOUR_S, DECADE_S, -DECADE_S])


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Clinic]:
    made = Clinic(tmp_path, size=3)
    yield made
    made.state.close()


@steps
def test_a_condition_stands_whatever_the_clock_shows(clinic: Clinic, seconds: int) -> None:
    for _ in range(65):
        clinic.stays(10, ASKS, OUTSIDE, FULL)
    before = [clinic.health(row) for row in range(3)]
    assert before == ["failed", "degraded", "ok"]
    clinic.set_clock(seconds)
    assert [one.rule for one in clinic.open("g1")] == ["fabric_not_joined"], "even before the next tick"
    clinic.stays(5, ASKS, OUTSIDE, FULL)
    assert [clinic.health(row) for row in range(3)] == before
    clinic.stays(5, FULL, {**FULL, "fabric_state": 3.0}, FULL)
    assert [clinic.health(row) for row in range(3)] == ["ok"] * 3


@steps
def test_a_condition_that_has_not_stood_for_long_enough_has_not_either(clinic: Clinic, seconds: int) -> None:
    for turn in range(59):
        if turn == 30:
            clinic.set_clock(seconds)
        clinic.stays(10, FULL, OUTSIDE, FULL)
    assert clinic.health(1) == "ok"
    for _ in range(3):
        clinic.stays(10, FULL, OUTSIDE, FULL)
    assert clinic.health(1) == "degraded"


@steps
def test_an_incident_is_open_until_it_has_been_quiet_for_as_long_as_it_must(clinic: Clinic, seconds: int) -> None:
    clinic.tell(event(95, clinic.ms()), event(94, clinic.ms(), device="g1"))
    clinic.stays(10)
    clinic.set_clock(seconds)
    clinic.node.misses(HOUR_S - 30)
    clinic.stays(10)
    assert (clinic.health(0), clinic.health(1)) == ("failed", "degraded")
    clinic.stays(20)
    assert (clinic.health(0), clinic.health(1)) == ("failed", "ok")


@steps
def test_what_comes_after_it_belongs_to_what_came_before_it(clinic: Clinic, seconds: int) -> None:
    clinic.tell(event(94, clinic.ms()))
    clinic.stays(10)
    clinic.set_clock(seconds)
    clinic.tell(event(94, clinic.ms()))
    one, = clinic.open()
    assert one.times == 2


def test_a_condition_that_stood_before_a_restart_stands_after_it_though_the_clock_was_set_back(clinic: Clinic) -> None:
    clinic.stays(10, ASKS, FULL, FULL)
    clinic.set_clock(-HOUR_S)
    clinic.restart()
    assert clinic.health(0) == "failed"


@pytest.mark.parametrize("seconds", [HOUR_S, -HOUR_S, -DECADE_S])
def test_what_a_node_with_a_wrong_clock_tells_counts_from_when_it_happened(clinic: Clinic, seconds: int) -> None:
    clinic.node.skew += seconds
    clinic.node.restart_agent()
    clinic.stays(130)
    assert clinic.node.phase(0) == "idle"
    mine = clinic.node.epoch
    at = clinic.ms() + seconds * 1000
    clinic.tell(event(95, at, epoch=mine), event(94, at, device="g1", epoch=mine))
    assert (clinic.node.phase(0), clinic.health(1)) == ("faulty", "degraded")
    clinic.node.misses(HOUR_S - 30)
    clinic.stays(10)
    assert (clinic.health(0), clinic.health(1)) == ("failed", "degraded")
    clinic.stays(20)
    assert (clinic.health(0), clinic.health(1)) == ("failed", "ok")


@pytest.mark.parametrize("seconds", [HOUR_S, -HOUR_S])
def test_a_node_with_a_wrong_clock_is_not_cured_of_what_came_after_the_cure(clinic: Clinic, seconds: int) -> None:
    clinic.node.skew += seconds
    clinic.node.restart_agent()
    clinic.tell(event(119, clinic.ms() + seconds * 1000, epoch=clinic.node.epoch))
    clinic.stays(10, ASKS, FULL, FULL)
    clinic.stays(10)
    assert clinic.health() == "ok", "the driver asks for nothing any more"
    clinic.tell(event(95, clinic.ms() + seconds * 1000, epoch=clinic.node.epoch))
    assert clinic.health() == "failed"


def test_what_is_told_before_the_clock_of_its_node_is_known_counts_when_it_is(clinic: Clinic) -> None:
    clinic.node.skew -= DECADE_S
    clinic.node.restart_agent()
    clinic.tell(event(95, clinic.ms() - DECADE_S * 1000, epoch=clinic.node.epoch))
    assert clinic.node.phase(0) != "idle"
    clinic.stays(130)
    assert clinic.node.phase(0) == "faulty"


def test_what_a_node_tells_that_makes_no_reports_counts_as_it_came_after_a_minute(clinic: Clinic) -> None:
    clinic.node.restart_agent()
    clinic.tell(event(95, clinic.ms(), epoch=clinic.node.epoch))
    assert clinic.open() == []
    clinic.node.misses(60)
    clinic.tick()
    assert [one.rule for one in clinic.open()] == ["xid 95"]
