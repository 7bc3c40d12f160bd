"""Cordons set and lifted on a real state file, over a small fleet under watch."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fallow_collector.answers.cordons import Cordons, _new_id
from fallow_collector.api.answers import Unavailable, Unknown
from fallow_collector.api.cordons import Filter
from fallow_collector.cordons.wanted import Unfit, Wanted
from fallow_collector.faulted import Faulted
from fallow_collector.journal import Journal
from fallow_collector.state import State
from fallow_collector.view import View
from fallow_proto.dispatch import CordonResult, Fault
from fallow_proto.states import Service
from tests.collector.watching import IDLE, Watched, device

ALL = Filter("", "", "")
G0 = Wanted(Service.CORDONED, ("g0",), (), "ops", "fan broken")


class Site:
    """A node with two idle devices, and the cordons on it; `jump` moves the wall clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = Watched(device("g0"), device("g1"))
        self.jump = 0.0
        self.open()
        self.node.stays(62, IDLE, IDLE)
        assert self.phases() == ["idle", "idle"]

    def open(self) -> None:
        """As at the start of a collector."""
        node = self.node
        self.state = State(self.folder)
        self.prepare: list[Callable[[float, float], None]] = []
        self.view = View(node.fleet, node.engine, lambda: node.now, self.wall, self.prepare)
        self.journal = Journal("run", self.wall)
        self.cordons = Cordons(
            self.state, node.fleet, node.engine, self.journal, self.view.refresh, lambda: node.now, self.wall
        )
        self.prepare.append(self.cordons.bring_up_to_date)

    def restart(self) -> None:
        """The collector is killed, and its arrays are as new; the state file is as it was."""
        self.state.close()
        self.node.fleet.service[:] = 0
        self.open()

    def wall(self) -> float:
        return self.node.WALL + self.node.now + self.jump

    def put(self, wanted: Wanted, dry_run: bool = False) -> CordonResult:
        return asyncio.run(self.cordons.put(wanted, dry_run))

    def lift(self, cordon_id: str, owner: str = "ops") -> None:
        asyncio.run(self.cordons.lift(cordon_id, owner))

    def keep(self, stopping: bool = False) -> None:
        asyncio.run(self.cordons.keep(stopping))

    def passes(self, seconds: float) -> None:
        self.node.stays(seconds, IDLE, IDLE)
        self.view.refresh()

    def phases(self) -> list[str]:
        self.view.refresh()
        return [self.node.phase(0), self.node.phase(1)]

    def rows(self) -> list[str]:
        return [row.cordon_id for row in self.state.load_cordons()]

    def refused(self, cordon_id: str, owner: str) -> Fault:
        with pytest.raises(Faulted) as refused:
            self.lift(cordon_id, owner)
        return refused.value.fault


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.state.close()


def test_a_cordoned_device_is_not_offered_at_once_and_the_others_are(site: Site) -> None:
    done = site.put(G0)
    (made,) = done.cordons
    assert (made.kind, made.owner, made.reason, made.device, made.node) == ("cordoned", "ops", "fan broken", "g0", "n1")
    assert (made.active, made.expires_in_s, made.starts, made.ends) == (True, None, None, None)
    assert (done.affected, done.leased) == (["g0"], [])
    assert site.phases() == ["cordoned", "idle"]
    assert site.rows() == [made.cordon_id]


def test_an_uncordoned_device_is_verified_for_the_whole_window_before_it_is_idle(site: Site) -> None:
    (made,) = site.put(G0).cordons
    site.passes(100)
    site.lift(made.cordon_id)
    assert site.phases() == ["verifying", "idle"]
    site.passes(60)
    assert site.phases() == ["verifying", "idle"]
    site.passes(1)
    assert site.phases() == ["idle", "idle"]
    assert site.rows() == []


def test_of_contradictory_cordons_each_owner_lifts_only_the_own(site: Site) -> None:
    (ours,) = site.put(G0).cordons
    (theirs,) = site.put(G0._replace(kind=Service.DRAINING, owner="net", reason="switch")).cordons
    assert site.phases()[0] == "draining"
    assert site.refused(theirs.cordon_id, "ops") is Fault.NOT_OWNER
    assert site.refused(theirs.cordon_id, "") is Fault.NOT_OWNER
    site.lift(theirs.cordon_id, "net")
    assert site.phases()[0] == "cordoned"
    site.lift(ours.cordon_id)
    assert site.phases()[0] == "verifying"
    assert site.refused(ours.cordon_id, "ops") is Fault.CORDON_NOT_FOUND


def test_a_cordon_ends_by_itself_and_a_jump_of_the_wall_clock_ends_it_no_earlier(site: Site) -> None:
    site.put(G0._replace(for_s=30.0))
    site.jump = 1e6
    site.passes(29)
    assert site.phases() == ["cordoned", "idle"]
    site.passes(1)
    assert site.phases() == ["verifying", "idle"]
    assert site.cordons.listed(ALL, 10, None).items == []
    site.keep()
    assert site.rows() == []


def test_what_remains_is_kept_every_so_often_and_goes_on_after_a_kill(site: Site) -> None:
    site.put(G0._replace(for_s=100.0))
    site.passes(40)
    site.keep()
    site.passes(5)
    site.keep()  # too soon after the last time
    site.restart()
    (found,) = site.cordons.listed(ALL, 10, None).items
    assert found.expires_in_s == 60.0
    assert site.phases()[0] == "cordoned"
    site.passes(60)
    assert site.phases()[0] != "cordoned"


def test_what_remains_is_kept_when_the_collector_stops(site: Site) -> None:
    site.put(G0._replace(for_s=100.0))
    site.keep()
    site.passes(5)
    site.keep(stopping=True)
    assert [row.remaining_s for row in site.state.load_cordons()] == [95.0]


def test_a_window_to_come_is_shown_and_blocks_nothing_until_it_begins(site: Site) -> None:
    start = site.wall() + 60
    done = site.put(Wanted(Service.MAINTENANCE, (), ("n1",), "ops", "cooling", start=start, end=start + 120))
    (made,) = done.cordons
    assert (made.active, made.expires_in_s, done.affected) == (False, 180.0, ["g0", "g1"])
    assert (made.device, made.node) == (None, "n1")
    assert site.phases() == ["idle", "idle"]
    site.passes(60)
    assert site.phases() == ["maintenance", "maintenance"]
    site.passes(120)
    assert site.phases() == ["verifying", "verifying"]


def test_a_drain_lets_a_lease_go_on_and_takes_what_is_idle(site: Site) -> None:
    fleet = site.node.fleet
    fleet.allocation[1] = 2  # leased
    drain = Wanted(Service.DRAINING, (), ("n1",), "ops", "kernel")
    tried = site.put(drain, dry_run=True)
    assert (tried.cordons, tried.affected, tried.leased) == ([], ["g0", "g1"], ["g1"])
    assert (site.phases(), site.rows()) == (["idle", "leased"], [])
    site.put(drain)
    assert site.phases() == ["draining", "leased"]
    fleet.allocation[1] = 0
    assert site.phases() == ["draining", "draining"]


@pytest.mark.parametrize(("changed", "told"), [
    ({"devices": ("g0", "x9", "x8")}, "there is no device x9, x8; `fallow devices` lists"),
    ({"nodes": ("n1", "n9")}, "there is no node n9; `fallow nodes` lists"),
    ({"nodes": ("",)}, "there is no node '';"),
    ({"devices": tuple(f"x{n}" for n in range(7))}, "there is no device x0, x1, x2, x3, x4 and 2 more;"),
])
def test_unknown_targets_are_named_and_nothing_is_half_done(site: Site, changed: dict[str, object], told: str) -> None:
    with pytest.raises(Unknown) as refused:
        site.put(G0._replace(**changed))  # type: ignore[arg-type]
    assert told in str(refused.value)
    assert (site.phases(), site.rows()) == (["idle", "idle"], [])


def test_a_bad_window_is_refused_and_nothing_is_done(site: Site) -> None:
    with pytest.raises(Unfit, match="expected one that ends in the future"):
        site.put(G0._replace(kind=Service.MAINTENANCE, end=site.wall() - 1))
    assert (site.phases(), site.rows()) == (["idle", "idle"], [])


def test_when_the_state_cannot_be_written_nothing_is_changed(site: Site) -> None:
    (made,) = site.put(G0).cordons
    site.state._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(Unavailable, match="nothing was changed: the state file cannot be written"):
        site.put(Wanted(Service.CORDONED, (), ("n1",), "ops", ""))
    with pytest.raises(Unavailable):
        site.lift(made.cordon_id)
    assert site.phases() == ["cordoned", "idle"]
    assert [one.cordon_id for one in site.cordons.listed(ALL, 10, None).items] == [made.cordon_id]
    site.state._connection.execute("PRAGMA query_only = OFF")
    site.lift(made.cordon_id)
    assert site.rows() == []


def test_cordons_are_listed_by_pages_and_by_what_they_are_on(site: Site) -> None:
    for wanted in (G0, Wanted(Service.DRAINING, (), ("n1",), "net", ""), G0._replace(devices=("g1",))):
        site.put(wanted)
        site.node.now += 1
    first = site.cordons.listed(ALL, 2, None)
    second = site.cordons.listed(ALL, 2, first.next)
    assert [one.kind for one in first.items] == ["cordoned", "draining"]
    assert ([one.device for one in second.items], second.next) == (["g1"], None)

    def found(**which: str) -> list[tuple[str, str | None]]:
        items = site.cordons.listed(ALL._replace(**which), 10, None).items
        return [(one.owner, one.device) for one in items]

    assert found(owner="net") == [("net", None)]
    assert found(device="g1") == [("net", None), ("ops", "g1")]
    assert found(node="n1", owner="ops") == [("ops", "g0"), ("ops", "g1")]
    assert found(node="n2") == found(device="x9") == []


def test_three_fast_failures_quarantine_the_node_until_somebody_lifts_it(site: Site) -> None:
    for number, lease in enumerate(("l1", "l1", "l2", "l3")):
        assert site.phases() == ["idle", "idle"]
        asyncio.run(site.cordons.failed_fast("n1", lease, site.node.now + number))
    assert site.phases() == ["cordoned", "cordoned"]
    (made,) = site.cordons.listed(ALL, 10, None).items
    assert (made.owner, made.node, made.device, made.expires_in_s) == ("fallow", "n1", None, None)
    assert "l1, l2, l3" in made.reason
    assert [(row.kind, row.node, row.message) for row in site.journal.waiting()] == [("quarantined", "n1", made.reason)]
    assert site.rows() == [made.cordon_id]
    site.restart()
    assert site.phases() == ["cordoned", "cordoned"]
    site.lift(made.cordon_id, "anybody")
    assert site.phases() == ["verifying", "verifying"]


def test_a_node_in_quarantine_is_not_put_there_again(site: Site) -> None:
    for number in range(9):
        asyncio.run(site.cordons.failed_fast("n1", f"l{number}", site.node.now))
    assert len(site.cordons.listed(ALL, 10, None).items) == 1
    assert len(site.journal.waiting()) == 1


def test_a_quarantine_counts_though_the_disk_takes_nothing_and_is_kept_once_it_does(site: Site) -> None:
    disk = site.state._connection
    disk.execute("PRAGMA query_only = 1")
    for number in range(3):
        asyncio.run(site.cordons.failed_fast("n1", f"l{number}", site.node.now))
    assert (site.phases(), site.rows()) == (["cordoned", "cordoned"], [])
    disk.execute("PRAGMA query_only = 0")
    site.keep()
    assert len(site.rows()) == 1


def test_all_pages_hold_every_cordon_once_though_the_wall_clock_was_set_back_in_between(site: Site) -> None:
    site.put(G0._replace(owner="today"))
    site.jump = -86_400.0
    site.put(G0._replace(owner="yesterday"))
    first = site.cordons.listed(ALL, 1, None)
    second = site.cordons.listed(ALL, 1, first.next)
    assert [one.owner for one in (*first.items, *second.items)] == ["yesterday", "today"]
    assert second.next is None


def test_of_very_many_cordons_that_are_made_at_once_none_takes_another_s_name() -> None:
    assert len({_new_id(0.0) for _ in range(300_000)}) == 300_000


def test_many_at_once_are_all_kept_and_none_comes_back_after_it_was_lifted(site: Site) -> None:
    async def all_at_once() -> None:
        made = await asyncio.gather(*(
            site.cordons.put(G0._replace(owner=f"o{n}"), dry_run=False) for n in range(8)
        ))
        await asyncio.gather(
            site.cordons.keep(stopping=True),
            *(site.cordons.lift(one.cordons[0].cordon_id, one.cordons[0].owner) for one in made[:4]),
            site.cordons.keep(stopping=True),
        )

    asyncio.run(all_at_once())
    assert len(site.rows()) == 4
    site.restart()
    assert sorted(one.owner for one in site.cordons.listed(ALL, 10, None).items) == ["o4", "o5", "o6", "o7"]
