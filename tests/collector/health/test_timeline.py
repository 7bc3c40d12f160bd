"""What a device went through, in one list, from live state, the state file and the log of phases."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fallow_collector.answers.live import Live
from fallow_collector.fit.members import Directory
from fallow_collector.phases import CHANGE, PhaseLog
from fallow_collector.view import View
from tests.collector.health.clinic import FULL, Clinic
from tests.collector.health.told import T0, event
from tests.collector.memory_store import MemoryStore


class Watched(Clinic):
    """A clinic with answers about it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.view = View(self.node.fleet, self.node.engine, lambda: self.node.now, lambda: self.wall)
        self.phases = PhaseLog(self.wall)
        self.view.follow(self.phases.follow)
        self.live = Live(
            self.node.fleet, self.node.engine, self.view, self.state, MemoryStore(), list, list,
            Directory(self.node.fleet), incidents=self.board.incidents, phases=self.phases,
        )

    def moments(self, start: float = 0.0, limit: int = 100) -> list[tuple[str, str]]:
        found = self.live.timeline("g0", start, self.wall + 1, limit).items
        return [(one.kind, one.phase or (one.event.kind if one.event else one.incident.rule)) for one in found]  # type: ignore[union-attr]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.state.close()


def test_events_incidents_and_phases_are_one_list_newest_first(watched: Watched) -> None:
    watched.view.refresh()
    watched.stays(130)
    watched.view.refresh()
    watched.node.now += 1
    watched.node.says(FULL, FULL)
    watched.tell(event(95, watched.ms()))
    watched.node.now += 1
    watched.node.says(FULL, FULL)
    watched.view.refresh()
    assert watched.moments() == [
        ("phase", "faulty"), ("event", "xid"), ("incident", "xid 95"), ("phase", "idle"), ("phase", "verifying"),
    ]
    assert watched.moments(start=watched.wall - 0.5) == [("phase", "faulty")]
    detail = watched.live.device("g0")
    assert [one.rule for one in detail.incidents] == ["xid 95"]
    assert len(detail.timeline) == 5


def test_a_page_says_where_the_next_one_ends_and_how_far_back_phases_are_known(watched: Watched) -> None:
    watched.tell(*(event(31, watched.ms(ago_s=n), number=n) for n in range(5)))
    page = watched.live.timeline("g0", watched.wall - 60, watched.wall + 1, 2)
    assert (len(page.items), page.next, page.complete) == (2, page.items[-1].at, False)
    whole = watched.live.timeline("g0", watched.wall, watched.wall + 1, 100)
    assert (whole.next, whole.complete) == (None, True)


def test_the_log_of_phases_is_bounded_and_knows_how_far_it_reaches(watched: Watched) -> None:
    log = PhaseLog(watched.wall, capacity=4)
    watched.view.follow(log.follow)
    for seconds in (1, 70, 20):
        watched.stays(seconds, FULL, FULL)
        watched.view.refresh()
        watched.stays(20, {**FULL, "utilization_ratio": 0.9}, {**FULL, "utilization_ratio": 0.9})
        watched.view.refresh()
    mine = log.of(0, 0.0, watched.wall + 1)
    assert len(mine) <= 4
    assert log.since > T0 / 1000
    assert mine[0][0] > mine[-1][0]
    assert np.dtype(CHANGE).itemsize == 13
