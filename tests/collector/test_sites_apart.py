"""Two sites on one collector: who is of one neither sees nor takes anything of the other."""

import asyncio
from pathlib import Path

import pytest

from fallow_collector.answers.cordons import Cordons
from fallow_collector.answers.fit import Fitter
from fallow_collector.answers.kubernetes import Extender
from fallow_collector.api.caller import ANYBODY, Caller
from fallow_collector.api.cordons import Filter
from fallow_collector.api.tokens import Role
from fallow_collector.cordons.wanted import Wanted
from fallow_collector.desk import Around, Desk
from fallow_collector.faulted import Faulted
from fallow_collector.journal import Journal
from fallow_collector.kubernetes.extender import Args
from fallow_collector.leases import LeaseFile
from fallow_collector.state import State
from fallow_collector.view import View
from fallow_proto.dispatch import Claim, Fault, Request, Reserve
from fallow_proto.states import Service
from tests.collector.watching import IDLE, Watched, device

SOUTH = ("south",)
POD = {"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}}


class Centre:
    """One idle device in the south, three in the north."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.south = Watched(device("s0"), node="n-south", site="south")
        self.fleet, engine = self.south.fleet, self.south.engine
        self.north = Watched(
            device("n0"), device("n1"), device("n2"), node="n-north", site="north", fleet=self.fleet, engine=engine
        )
        for node in (self.south, self.north):
            self.fleet.nodes[self.fleet.node_number(node.node)].agent_version = "1"
            node.stays(62, *[IDLE] * len(node.devices))
        self.view = View(self.fleet, engine, self.now, self.wall)
        self.fitter = Fitter(self.fleet, self.view)
        self.file = LeaseFile(folder)
        self.desk = Desk(self.file, self.fleet, engine, self.fitter, Around(
            monotonic=self.now, wall=self.wall, flush=lambda now: None, prepare=self.view.prepare,
            refresh=self.view.refresh, send=lambda node, fences: False, note=lambda *note: None,
            failed_fast=lambda *failure: asyncio.sleep(0),
        ))

    def now(self) -> float:
        return self.south.now

    def wall(self) -> float:
        return self.south.WALL + self.south.now


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre(tmp_path)


def test_a_fit_looks_at_the_devices_of_ones_sites_only(centre: Centre) -> None:
    assert centre.fitter.fit(Request(count=4)).fits
    found = centre.fitter.fit(Request(count=2, same="node"), SOUTH)
    assert (found.fits, found.eligible, found.largest) == (False, 1, 1)
    assert [(short.devices, short.of) for short in found.short] == []
    assert all(miss.then <= 1 for miss in found.nearest)
    placement = centre.fitter.fit(Request(), SOUTH).placement
    assert placement is not None
    assert [one.uuid for one in placement.devices] == ["s0"]


def test_a_lease_takes_devices_of_ones_sites_only(centre: Centre) -> None:
    async def through() -> None:
        for count in (2, 4):
            with pytest.raises(Faulted) as refused:
                await centre.desk.reserve(Reserve(request=Request(count=count)), "batch", SOUTH)
            assert refused.value.fault is Fault.NO_CAPACITY
            assert "n0" not in str(refused.value)
        lease = await centre.desk.reserve(Reserve(request=Request(), hold=True), "batch", SOUTH)
        assert [one.uuid for one in lease.devices] == ["s0"]
        await centre.desk.close()

    asyncio.run(through())


def test_who_may_lease_sees_and_touches_only_what_is_theirs(centre: Centre) -> None:
    async def through() -> None:
        desk = centre.desk
        southern = await desk.reserve(Reserve(devices=["s0"], hold=True), "batch")
        northern = await desk.reserve(Reserve(devices=["n0"], hold=True), "other")

        def seen(asking: Caller) -> set[str]:
            return {lease.lease_id for lease in desk.leases([], 10, None, asking).items}

        assert seen(ANYBODY) == {southern.lease_id, northern.lease_id}
        assert seen(Caller("batch", Role.LEASE)) == {southern.lease_id}
        assert seen(Caller("people", Role.READ)) == {southern.lease_id, northern.lease_id}
        assert seen(Caller("people", Role.READ, SOUTH)) == {southern.lease_id}
        assert seen(Caller("ops", Role.ADMIN, SOUTH)) == {southern.lease_id}
        assert seen(Caller("other", Role.LEASE, SOUTH)) == set()
        for asking in (Caller("batch", Role.LEASE), Caller("people", Role.READ, SOUTH)):
            with pytest.raises(Faulted) as refused:
                desk.lease(northern.lease_id, asking)
            with pytest.raises(Faulted) as none:
                desk.lease("none", asking)
            assert str(refused.value).replace(northern.lease_id, "none") == str(none.value)
        claim = Claim(fencing_token=northern.fencing_token)
        for act in (desk.commit, desk.renew, desk.release):
            with pytest.raises(Faulted) as foreign:
                await act(northern.lease_id, claim, "batch")
            assert foreign.value.fault is Fault.NOT_HOLDER
        await desk.close()

    asyncio.run(through())


def test_nodes_of_other_sites_are_unknown_to_a_scheduler_of_one(centre: Centre) -> None:
    extender = Extender(centre.fleet, centre.view)
    args = Args(pod=POD, node_names=["n-south", "n-north"])
    assert extender.filter(args).node_names == ["n-south", "n-north"]
    found = extender.filter(args, SOUTH)
    assert found.node_names == ["n-south"]
    assert "no agent speaks for this node" in found.failed_and_unresolvable_nodes["n-north"]
    assert {one.host: one.score for one in extender.prioritize(args, SOUTH)}["n-north"] == 0


def test_cordons_of_other_sites_are_neither_shown_nor_lifted(centre: Centre) -> None:
    state = State(centre.folder / "state")
    cordons = Cordons(
        state, centre.fleet, centre.south.engine, Journal("run", centre.wall), centre.view.refresh, centre.now,
        centre.wall,
    )
    northern = asyncio.run(
        cordons.put(Wanted(Service.CORDONED, ("n0",), (), "ops", "fan"), dry_run=False)
    ).cordons[0].cordon_id
    southern = asyncio.run(
        cordons.put(Wanted(Service.CORDONED, (), ("n-south",), "ops", "fan"), dry_run=False)
    ).cordons[0].cordon_id

    def shown(*sites: str) -> list[str]:
        return [one.cordon_id for one in cordons.listed(Filter("", "", "", sites), 10, None).items]

    assert set(shown()) == {northern, southern}
    assert shown("south") == [southern]
    with pytest.raises(Faulted) as refused:
        asyncio.run(cordons.lift(northern, "ops", SOUTH))
    assert refused.value.fault is Fault.CORDON_NOT_FOUND
    asyncio.run(cordons.lift(southern, "ops", SOUTH))
    assert shown() == [northern]
    state.close()
