"""The desk over a real fleet, engine and file: leases from the request to the reading that shows the device free."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from fallow_collector.answers.fit import Fitter
from fallow_collector.api.answers import Unavailable, Unknown
from fallow_collector.desk import CLOCK_S, Around, Desk
from fallow_collector.faulted import Faulted
from fallow_collector.idle import phase
from fallow_collector.leases import LeaseFile
from fallow_collector.view import View
from fallow_proto.dispatch import Claim, Fault, Lease, Request, Reserve
from fallow_proto.states import Allocation, EventKind, Service
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.watching import BUSY, GIB, HOLDING, HOST, IDLE, NAN, Watched, device

LOW = {**IDLE, "processes": NAN}


class Site:
    """Three accelerators, one of low confidence, and the CPUs of one node, whose agent takes fences as agents do.

    answers: how it does; None: it never says what it keeps. connected: whether it can be sent anything.
    """

    def __init__(self, folder: Path, node: Watched | None = None) -> None:
        self.node = node or Watched(
            device("g0", index=0, pci_bus_id="0000:17:00.0"), device("g1"), device("low", unsupported=["processes"]),
            device("h0", device_class="general", vendor="intel", model="Xeon"),
        )
        self.folder = folder
        self.wall_skew = self.node.WALL
        self.connected = True
        self.refuses = 0  # by so much are the tokens higher that the node keeps
        self.deaf = False
        self.sent: list[pb.DeviceFence] = []
        self.notes: list[tuple[EventKind, str]] = []
        self.failed: list[tuple[str, str]] = []
        self.prepare: list[Callable[[float, float], None]] = []
        self.open()

    def open(self) -> None:
        fleet, engine = self.node.fleet, self.node.engine
        self.view = View(fleet, engine, lambda: self.node.now, self.wall, self.prepare)
        self.file = LeaseFile(self.folder)
        self.desk = Desk(self.file, fleet, engine, Fitter(fleet, self.view), Around(
            monotonic=lambda: self.node.now, wall=self.wall, flush=lambda now: None,
            prepare=self.view.prepare, refresh=self.view.refresh,
            send=self.send, note=lambda kind, node, uuid, message: self.notes.append((kind, uuid)),
            failed_fast=self.failed_fast,
        ))

    async def failed_fast(self, node: str, lease: str, now: float) -> None:
        self.failed.append((node, lease))

    def wall(self) -> float:
        return self.wall_skew + self.node.now

    def send(self, node: str, fences: Sequence[pb.DeviceFence]) -> bool:
        assert node == "n1"
        if not self.connected:
            return False
        self.sent += fences
        if not self.deaf:
            kept = [pb.DeviceFence(device=f.device, token=f.token + self.refuses, held=f.held) for f in fences]
            asyncio.get_running_loop().call_soon(self.desk.fenced, "n1", kept, self.node.now)
        return True

    def stays(self, seconds: float, g0: dict[str, float] = IDLE) -> None:
        """Time passes, a second at a time, with a reading and a look at the leases in each."""
        for _ in range(round(seconds)):
            self.node.stays(1, g0, IDLE, LOW, HOST)
            self.desk.tick(self.node.now)

    def phases(self) -> list[str]:
        return [self.node.phase(row) for row in range(2)]


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Site]:
    site = Site(folder)
    site.stays(70)
    assert site.phases() == ["idle", "idle"]
    yield site
    await site.desk.close()


def scenario(play: Callable[[Site], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """A test of a site where everything is idle."""

    def test(tmp_path: Path) -> None:
        async def run() -> None:
            async with opened(tmp_path) as site:
                await play(site)

        asyncio.run(run())

    return test


def named(*uuids: str, **more: Any) -> Reserve:
    return Reserve(devices=list(uuids), **more)


def claim(lease: Lease, **more: Any) -> Claim:
    return Claim(fencing_token=lease.fencing_token, **more)


async def refused(fault: Fault, call: Coroutine[Any, Any, Lease]) -> Faulted:
    with pytest.raises(Faulted) as raised:
        await call
    assert raised.value.fault is fault
    return raised.value


@scenario
async def test_a_request_gets_a_lease_whose_node_has_confirmed_it(site: Site) -> None:
    lease = await site.desk.reserve(Reserve(request=Request(count=1), holder="alice"), "ci")
    assert (lease.holder, lease.state, lease.fenced, lease.expires_in_s) == ("ci/alice", "leased", True, 300.0)
    (member,) = lease.devices
    assert member.node == "n1"
    assert [(fence.token, fence.held) for fence in site.sent] == [(lease.fencing_token, True)]
    assert "leased" in site.phases()


@scenario
async def test_a_hold_is_committed_and_no_node_hears_of_it_before(site: Site) -> None:
    held = await site.desk.reserve(named("g0", hold=True), "")
    assert (held.state, held.fenced, held.expires_in_s) == ("reserved", False, 30.0)
    assert site.sent == []
    assert site.phases() == ["reserved", "idle"]
    lease = await site.desk.commit(held.lease_id, claim(held), "")
    assert (lease.state, lease.fenced, lease.fencing_token) == ("leased", True, held.fencing_token)


@scenario
async def test_a_released_device_is_offered_again_only_after_a_clean_reading_and_the_short_window(site: Site) -> None:
    lease = await site.desk.reserve(named("g0"), "")
    site.stays(100, HOLDING)
    released = await site.desk.release(lease.lease_id, claim(lease), "")
    assert (released.state, released.expires_in_s) == ("releasing", None)
    site.stays(20, HOLDING)
    assert site.phases()[0] == "releasing"
    site.stays(1)
    assert site.phases()[0] == "verifying"
    site.stays(10)
    assert site.phases()[0] == "verifying"
    site.stays(1)
    assert site.phases()[0] == "idle"
    await refused(Fault.LEASE_ENDED, site.desk.renew(lease.lease_id, claim(lease), ""))


@scenario
async def test_an_expired_lease_waits_for_the_whole_window(site: Site) -> None:
    lease = await site.desk.reserve(named("g0", ttl_s=5.0), "")
    site.stays(6)
    assert (EventKind.LEASE_EXPIRED, "g0") in site.notes
    assert (site.sent[-1].token, site.sent[-1].held) == (lease.fencing_token, False)
    site.stays(59)
    assert site.phases()[0] == "verifying"
    site.stays(5)
    assert site.phases()[0] == "idle"


@scenario
async def test_readings_from_before_the_release_free_nothing(site: Site) -> None:
    lease = await site.desk.reserve(named("g0"), "")
    site.stays(80)
    late = site.node.report(IDLE, IDLE, LOW, HOST)  # made now, and on its way for a moment
    site.node.now += 0.5
    await site.desk.release(lease.lease_id, claim(lease), "")
    site.node.fleet.apply([late])
    site.desk.tick(site.node.now)
    assert site.phases()[0] == "releasing"


@scenario
async def test_evidence_from_before_the_release_that_comes_after_it_fills_no_window(site: Site) -> None:
    """A node that was cut off sends what it remembers first: its device was quiet inside the lease."""
    lease = await site.desk.reserve(named("g0"), "")
    remembered = []
    for _ in range(90):
        site.node.now += 1
        remembered.append(site.node.report(IDLE, IDLE, LOW, HOST))
    await site.desk.release(lease.lease_id, claim(lease), "")
    site.node.fleet.apply(remembered)
    site.stays(1)
    assert site.phases()[0] == "verifying"
    site.stays(9)
    assert site.phases()[0] == "verifying"


@scenario
async def test_a_silent_node_keeps_what_was_released(site: Site) -> None:
    lease = await site.desk.reserve(named("g0"), "")
    await site.desk.release(lease.lease_id, claim(lease), "")
    for _ in range(100):
        site.node.now += 10
        site.desk.tick(site.node.now)
    assert site.phases()[0] == "releasing"


@scenario
async def test_a_device_in_use_after_its_lease_becomes_unmanaged_with_an_event(site: Site) -> None:
    lease = await site.desk.reserve(named("g0"), "")
    site.stays(5, BUSY)
    await site.desk.release(lease.lease_id, claim(lease), "")
    site.stays(600, BUSY)
    assert site.phases()[0] == "releasing"
    site.stays(1, BUSY)
    assert site.phases()[0] == "unmanaged"
    assert site.notes == [(EventKind.RELEASE_STUCK, "g0")]


@scenario
async def test_a_device_that_just_went_busy_is_not_given_and_none_of_the_others_is(site: Site) -> None:
    site.view.now()
    site.node.now += 1
    site.node.says(IDLE, BUSY, LOW, HOST)
    found = await refused(Fault.NOT_IDLE, site.desk.reserve(named("g0", "g1"), ""))
    assert found.uuids == ["g1"]
    assert "g1 is unmanaged (active" in str(found)
    assert site.phases()[0] == "idle"
    found = await refused(Fault.NO_CAPACITY, site.desk.reserve(Reserve(request=Request(count=2)), ""))
    assert "2 asked for, 1 eligible, 1 would fit" in str(found)


@scenario
async def test_low_confidence_is_given_only_to_who_accepts_it_and_never_by_name(site: Site) -> None:
    found = await refused(Fault.NOT_IDLE, site.desk.reserve(named("low"), ""))
    assert "low is idle with low confidence" in str(found)
    lease = await site.desk.reserve(Reserve(request=Request(count=3, confidence="low")), "")
    assert {member.uuid for member in lease.devices} == {"g0", "g1", "low"}


@scenario
async def test_what_a_scheduler_hands_out_is_refused_and_so_is_what_is_cordoned_or_unknown(site: Site) -> None:
    fleet = site.node.fleet
    fleet.ledgers.append("slurm")
    fleet.ledger[0] = 1
    found = await refused(Fault.OWNED_BY_SCHEDULER, site.desk.reserve(named("g0", "g1"), ""))
    assert (found.uuids, "ask slurm for it" in str(found)) == (["g0"], True)
    fleet.service[1] = phase.SERVICES.index(Service.CORDONED)
    await refused(Fault.NOT_IDLE, site.desk.reserve(named("g1"), ""))
    with pytest.raises(Unknown):
        await site.desk.reserve(named("gx"), "")


@scenario
async def test_a_device_that_came_to_a_cordoned_node_just_now_is_not_given_by_name(site: Site) -> None:
    """Before anybody has looked at the fleet since: cordons and ledgers are written to it with each look."""
    def cordoned(now: float, wall: float) -> None:
        site.node.fleet.service[1] = phase.SERVICES.index(Service.CORDONED)

    site.prepare.append(cordoned)
    found = await refused(Fault.NOT_IDLE, site.desk.reserve(named("g1"), ""))
    assert "g1 is cordoned" in str(found)


@scenario
async def test_a_host_is_not_given_to_another_one_than_its_accelerators(site: Site) -> None:
    await site.desk.reserve(named("g0"), "")
    found = await refused(Fault.NOT_IDLE, site.desk.reserve(named("h0"), ""))
    assert "accelerator_leased" in str(found)
    site.node.devices = tuple(one for one in site.node.devices if one.uuid != "g0")
    site.node.hello()
    await refused(Fault.NOT_IDLE, site.desk.reserve(named("h0"), ""))  # it has fallen off the bus, and is leased still


@scenario
async def test_the_same_key_is_answered_with_the_same_lease(site: Site) -> None:
    wanted = Reserve(request=Request(count=1), key="k")
    first, second = await asyncio.gather(site.desk.reserve(wanted, ""), site.desk.reserve(wanted, ""))
    assert first.lease_id == second.lease_id
    await refused(Fault.KEY_REUSED, site.desk.reserve(Reserve(request=Request(count=2), key="k"), ""))
    assert len(site.desk.leases([], 10, None).items) == 1


@scenario
async def test_a_failure_right_after_the_beginning_is_told(site: Site) -> None:
    lease = await site.desk.reserve(named("g0"), "")
    await site.desk.release(lease.lease_id, claim(lease, outcome="failed"), "")
    assert site.failed == [("n1", lease.lease_id)]


@scenario
async def test_a_node_with_a_higher_token_ends_the_lease_at_once(site: Site) -> None:
    site.refuses = 10
    await refused(Fault.FENCED, site.desk.reserve(named("g0"), ""))
    assert site.phases()[0] == "releasing"
    assert site.notes == [(EventKind.FENCE_REFUSED, "g0")]
    site.refuses = 0
    lease = await site.desk.reserve(named("g1"), "")
    assert lease.fencing_token > site.sent[0].token + 10


@scenario
async def test_a_node_that_does_not_answer_holds_a_commit_up_for_two_seconds_at_most(site: Site) -> None:
    site.deaf = True
    async with asyncio.timeout(60):
        lease = await site.desk.reserve(named("g0"), "")
    assert (lease.state, lease.fenced) == ("leased", False)


@scenario
async def test_a_node_that_was_away_is_told_when_it_says_hello(site: Site) -> None:
    site.connected = False
    lease = await site.desk.reserve(named("g0"), "")
    assert not lease.fenced
    site.connected = True
    site.desk.hello(pb.Hello(node="n1", devices=site.node.devices), site.node.now)
    await asyncio.sleep(0)
    assert [fence.token for fence in site.sent] == [lease.fencing_token]
    assert site.desk.lease(lease.lease_id).fenced


@scenario
async def test_who_renews_has_a_node_told_again_that_did_not_keep_the_token(site: Site) -> None:
    site.deaf = True  # its disk was full
    lease = await site.desk.reserve(named("g0"), "")
    site.deaf = False
    renewed = await site.desk.renew(lease.lease_id, claim(lease), "")
    await asyncio.sleep(0)
    assert site.desk.lease(lease.lease_id).fenced
    site.sent.clear()
    await site.desk.renew(lease.lease_id, claim(renewed), "")
    assert site.sent == []


@scenario
async def test_a_pause_of_the_collector_costs_no_holder_its_lease(site: Site) -> None:
    """Suspended for a minute: renewals that came meanwhile could not be heard."""
    lease = await site.desk.reserve(named("g0", ttl_s=20.0), "")
    held = await site.desk.reserve(named("g1", hold=True), "")
    site.stays(4)
    site.node.now += 60.0
    site.desk.tick(site.node.now)
    remains = site.desk.lease(held.lease_id).expires_in_s
    assert remains == 26.0
    assert (await site.desk.renew(lease.lease_id, claim(lease), "")).expires_in_s == 20.0
    await site.desk.close()
    site.node.fleet.allocation[:] = 0
    site.open()
    assert site.desk.lease(held.lease_id).expires_in_s == remains
    site.stays(21)
    assert site.phases() == ["verifying", "reserved"]


@scenario
async def test_a_restart_keeps_leases_keys_and_the_time_that_remains(site: Site) -> None:
    wanted = named("g0", key="k", ttl_s=100.0)
    lease = await site.desk.reserve(wanted, "")
    held = await site.desk.reserve(named("g1", hold=True), "")
    site.stays(20)
    await site.desk.close()
    site.node.now += 5000.0  # the time while the collector was down, and a jump of the wall clock
    site.wall_skew -= 1e7
    site.node.fleet.allocation[:] = 0
    site.open()
    assert site.phases() == ["leased", "reserved"]
    again = site.desk.lease(lease.lease_id)
    assert (again.fencing_token, again.expires_in_s) == (lease.fencing_token, 80.0)
    assert (await site.desk.reserve(wanted, "")).lease_id == lease.lease_id
    committed = await site.desk.commit(held.lease_id, claim(held), "")
    assert committed.state == "leased"


@scenario
async def test_a_crash_prolongs_a_lease_by_no_more_than_the_clock_is_kept_late(site: Site) -> None:
    lease = await site.desk.reserve(named("g0", ttl_s=100.0), "")
    site.stays(3 * CLOCK_S + 4)
    await site.desk._commits.keep()  # what was on its way is there
    crashed, site.file = site.file, None  # type: ignore[assignment]
    site.open()
    remains = site.desk.lease(lease.lease_id).expires_in_s
    assert remains is not None
    assert 66.0 <= remains <= 66.0 + CLOCK_S
    crashed.close()


@scenario
async def test_who_is_told_that_a_lease_has_ended_is_told_when_the_disk_has_it(site: Site) -> None:
    lease = await site.desk.reserve(named("g0", ttl_s=5.0), "")
    disk_goes_on = threading.Event()
    site.desk._commits._thread.submit(disk_goes_on.wait)
    site.stays(6)
    told = asyncio.create_task(refused(Fault.LEASE_ENDED, site.desk.renew(lease.lease_id, claim(lease), "")))
    shown = asyncio.create_task(site.desk.settle())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not told.done()
    assert not shown.done()
    disk_goes_on.set()
    await asyncio.gather(told, shown)
    assert [row.state for row in site.file.load()[0]] == ["ended"]


@scenario
async def test_who_asks_again_for_what_has_ended_is_told_when_the_disk_has_it(site: Site) -> None:
    wanted = named("g0", ttl_s=5.0, key="k")
    await site.desk.reserve(wanted, "")
    disk_goes_on = threading.Event()
    site.desk._commits._thread.submit(disk_goes_on.wait)
    site.stays(6)
    told = asyncio.create_task(refused(Fault.LEASE_ENDED, site.desk.reserve(wanted, "")))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not told.done()
    disk_goes_on.set()
    await told
    assert [row.state for row in site.file.load()[0]] == ["ended"]


@scenario
async def test_who_loses_a_lease_while_its_renewal_goes_to_disk_is_told_when_the_disk_has_the_end(site: Site) -> None:
    lease = await site.desk.reserve(named("g0", ttl_s=5.0), "")
    renewal_goes, renewal_is_there, end_goes = threading.Event(), threading.Event(), threading.Event()

    def end_waits() -> None:
        renewal_is_there.set()
        end_goes.wait()

    disk = site.desk._commits._thread
    disk.submit(renewal_goes.wait)
    told = asyncio.create_task(refused(Fault.LEASE_ENDED, site.desk.renew(lease.lease_id, claim(lease), "")))
    for _ in range(20):
        await asyncio.sleep(0)
    disk.submit(end_waits)
    site.stays(6)
    renewal_goes.set()
    assert await asyncio.to_thread(renewal_is_there.wait, 60.0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not told.done()
    end_goes.set()
    await told
    assert [row.state for row in site.file.load()[0]] == ["ended"]


@scenario
async def test_a_disk_that_is_full_is_said_and_the_device_is_not_free(site: Site) -> None:
    held = await site.desk.reserve(named("g1", hold=True), "")
    disk = site.file._connection
    disk.execute("PRAGMA query_only = 1")
    for call in (site.desk.reserve(named("g0"), ""), site.desk.commit(held.lease_id, claim(held), "")):
        with pytest.raises(Unavailable, match="leases cannot be kept"):
            await call
    assert site.phases() == ["releasing", "releasing"]
    assert not any(fence.held for fence in site.sent)
    assert "leases cannot be kept" in site.desk.problem
    disk.execute("PRAGMA query_only = 0")
    site.stays(75)
    assert site.phases() == ["idle", "idle"]
    lease = await site.desk.reserve(named("g0"), "")
    assert (lease.state, site.desk.problem) == ("leased", "")


@scenario
async def test_who_asks_again_after_a_full_disk_asks_anew_and_takes_nothing_while_it_is_full(site: Site) -> None:
    disk = site.file._connection
    disk.execute("PRAGMA query_only = 1")
    wanted = Reserve(request=Request(count=1), key="k")
    for _ in range(3):
        with pytest.raises(Unavailable):
            await site.desk.reserve(wanted, "")
    assert sorted(site.phases()) == ["idle", "releasing"]
    disk.execute("PRAGMA query_only = 0")
    lease = await site.desk.reserve(wanted, "")
    assert lease.state == "leased"
    assert (await site.desk.reserve(wanted, "")).lease_id == lease.lease_id


@scenario
async def test_who_repeats_a_request_is_not_given_what_the_disk_did_not_take(site: Site) -> None:
    disk = site.file._connection
    disk.execute("PRAGMA query_only = 1")
    wanted = named("g0", key="k")
    first = asyncio.create_task(site.desk.reserve(wanted, ""))
    first.add_done_callback(lambda _: disk.execute("PRAGMA query_only = 0"))  # there is room from now on
    await asyncio.sleep(0)  # it is on its way to the disk
    assert site.phases()[0] == "leased"
    await refused(Fault.NOT_IDLE, site.desk.reserve(wanted, ""))  # asked anew: it is being released
    with pytest.raises(Unavailable):
        await first
    assert site.phases()[0] == "releasing"


@scenario
async def test_a_leased_device_that_comes_to_a_fleet_that_forgot_it_is_leased_before_it_is_judged(site: Site) -> None:
    await site.desk.reserve(named("g0"), "")
    site.node.fleet.allocation[:] = 0  # as where the file of devices was lost
    site.node.fleet.rows_revision += 1
    site.desk.hello(pb.Hello(node="n1", devices=site.node.devices), site.node.now)
    assert site.phases()[0] == "leased"


@scenario
async def test_a_device_that_is_given_up_ends_a_lease_that_was_released_and_no_other(site: Site) -> None:
    lease = await site.desk.reserve(named("g0", holder="alice"), "ci")
    site.desk.retired("g0")
    assert site.desk.holder("g0") == f"ci/alice (lease {lease.lease_id})"
    await site.desk.release(lease.lease_id, claim(lease), "ci")
    site.desk.retired("g0")
    assert (site.desk.holder("g0"), site.desk.leases([], 10, None).items) == ("", [])


@scenario
async def test_the_holder_of_a_lease_whose_record_was_lost_is_told_so(site: Site) -> None:
    fence = pb.DeviceFence(device="g0", token=17, held=True, lease_id="lease-17", holder="ci/alice")
    site.desk.hello(pb.Hello(node="n1", devices=site.node.devices, fences=[fence]), site.node.now)
    found = await refused(
        Fault.LEASE_ENDED, site.desk.renew("lease-17", Claim(fencing_token=17, holder="alice"), "ci")
    )
    assert "lost its record" in str(found)


@scenario
async def test_a_device_whose_row_is_new_is_not_free_when_it_is_leased(site: Site) -> None:
    await site.desk.reserve(named("g0"), "")
    site.node.fleet.allocation[:] = 0  # as in a fleet that was read anew
    site.node.fleet.rows_revision += 1
    site.desk.tick(site.node.now)
    assert site.phases()[0] == "leased"


@scenario
async def test_leases_are_listed_by_holder_page_by_page(site: Site) -> None:
    one = await site.desk.reserve(named("g0", holder="a"), "ci")
    two = await site.desk.reserve(named("g1", holder="b"), "ci")
    assert [lease.lease_id for lease in site.desk.leases(["ci/b"], 10, None).items] == [two.lease_id]
    page = site.desk.leases([], 1, None)
    assert ([lease.lease_id for lease in page.items], page.next) == ([one.lease_id], one.lease_id)
    page = site.desk.leases([], 1, page.next)
    assert ([lease.lease_id for lease in page.items], page.next) == ([two.lease_id], None)


def test_a_partition_and_its_parent_are_never_both_leased(tmp_path: Path) -> None:
    async def run() -> None:
        node = Watched(device("p0"), device("m0", parent="p0", partition_profile="1g.10gb"), device("p1"))
        site = Site(tmp_path, node)
        node.stays(70, IDLE, {**IDLE, "memory_limit_bytes": 10 * GIB}, IDLE)
        found = await refused(Fault.NOT_IDLE, site.desk.reserve(named("p0"), ""))
        assert "is there as partitions" in str(found)
        node.fleet.allocation[0] = phase.ALLOCATIONS.index(Allocation.LEASED)
        found = await refused(Fault.NOT_IDLE, site.desk.reserve(named("m0", "p1"), ""))
        assert found.uuids == ["m0"]
        await site.desk.close()

    asyncio.run(run())
