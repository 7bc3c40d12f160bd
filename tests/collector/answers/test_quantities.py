"""What idle capacity is worth, what could be taken back, and what does no work."""

from collections.abc import Iterator
from math import isnan

import numpy as np
import pytest

from fallow_collector.answers import capacity as answer_of_capacity
from fallow_collector.answers import totals as answer_of_totals
from fallow_collector.fit.members import Directory
from fallow_collector.fleet.peaks import peaks
from fallow_collector.idle import phase
from fallow_collector.idle.capacity import fragmentation, largest_blocks
from fallow_collector.idle.settings import IdleSettings, ModelSettings
from fallow_collector.view import View
from fallow_proto import api
from fallow_proto.catalogue import PRECISIONS
from fallow_proto.states import Allocation
from tests.collector.watching import BUSY, GIB, HOLDING, HOST, IDLE, NAN, Watched, device

LEASED = phase.ALLOCATIONS.index(Allocation.LEASED)
RESTING = {**HOLDING, "processes_cpu_seconds_total": 12.0, "compute_active_ratio": 0.0}
SPINNING = {**HOLDING, "utilization_ratio": 1.0, "compute_active_ratio": 0.0, "power_watts": 70.0}
NPU = {"utilization_ratio": 0.0, "compute_active_ratio": 0.0, "power_watts": 97.0, "memory_usage_bytes": 3.3 * GIB,
       "memory_limit_bytes": 64 * GIB, "processes": 0.0}
C500 = {**IDLE, "memory_limit_bytes": 64 * GIB, "memory_usage_bytes": 0.8 * GIB}


def capacity(watched: Watched, precisions: tuple[str, ...] = api.FLOPS_SHOWN) -> dict[str, api.Group]:
    fleet = watched.fleet
    view = View(fleet, watched.engine, lambda: watched.now, lambda: watched.now)
    answer = answer_of_capacity.capacity(
        fleet, watched.engine, view.now(), "e", fleet.alive[: fleet.count], Directory(fleet).members(), precisions
    )
    assert answer.density == "dense"
    return {group.model: group for group in answer.groups}


def totals(watched: Watched, *by: str, precision: str = "fp16") -> Iterator[api.Total]:
    fleet = watched.fleet
    view = View(fleet, watched.engine, lambda: watched.now, lambda: watched.now)
    found = answer_of_totals.totals(
        fleet, watched.engine, view.now(), "e", fleet.alive[: fleet.count], by, precision
    )
    return iter(found.totals)


def test_idle_devices_are_worth_their_free_memory_and_their_peaks() -> None:
    watched = Watched(device("g0"), device("g1"), device("g2"))
    watched.stays(70, IDLE, IDLE, BUSY)
    group = capacity(watched, ("fp16", "fp32", "fp8"))["NVIDIA A100-SXM4-80GB"]
    assert (group.idle, group.domestic) == (2, False)
    assert group.idle_memory_bytes == pytest.approx(2 * 79.4 * GIB)
    assert group.idle_flops == {
        "fp16": api.Peak(flops=2 * 312e12, unknown=0), "fp32": api.Peak(flops=2 * 19.5e12, unknown=0),
        "fp8": api.Peak(flops=None, unknown=2),
    }


def test_what_the_catalogue_does_not_know_is_counted_and_never_zero() -> None:
    watched = Watched(device("x0", vendor="acme", model="X1"), device("m0", partition_profile="1g.10gb", parent="g9"))
    watched.stays(70, IDLE, IDLE)
    for group in capacity(watched).values():
        assert group.idle == 1
        assert group.idle_flops["fp16"] == api.Peak(flops=None, unknown=1)
    assert capacity(watched)["X1"].domestic is None


def test_without_idle_devices_the_sums_are_zero_and_nothing_is_unknown() -> None:
    watched = Watched(device("x0", vendor="acme", model="X1"))
    watched.stays(70, BUSY)
    group = capacity(watched)["X1"]
    assert (group.idle_memory_bytes, group.idle_memory_unknown) == (0.0, 0)
    assert group.idle_flops["fp16"] == api.Peak(flops=0.0, unknown=0)
    assert group.fragmentation == {"1": 0.0, "2": 0.0, "4": 0.0, "8": 0.0}
    assert group.largest_block == api.Block(node=0, link=0, rack=0)


def test_boards_of_one_name_are_worth_what_their_power_limit_tells() -> None:
    boards = [device(f"m{i}", vendor="metax", model="MXC500") for i in range(4)]
    watched = Watched(*boards, device("v0", vendor="metax", model="MXC500", parent="m0", partition_profile="1/4"))
    watched.says(*({**C500, "power_limit_watts": limit} for limit in (350.0, 450.0, 300.0, NAN, 350.0)))
    found = peaks(watched.fleet, np.arange(5), "fp16").tolist()
    assert found[:2] == [240e12, 280e12]
    assert all(map(isnan, found[2:]))


def test_a_lease_that_does_nothing_is_reclaimable_after_its_grace_and_apart_from_idle() -> None:
    watched = Watched(settings=IdleSettings(reclaim_idle_s=60.0, reclaim_grace_s=30.0))
    watched.stays(100, RESTING)  # rest before the lease does not count
    watched.fleet.allocation[0], watched.fleet.allocated_at[0] = LEASED, watched.now
    watched.stays(85, RESTING)
    assert capacity(watched)["NVIDIA A100-SXM4-80GB"].reclaimable == 0
    watched.stays(6, RESTING)
    group = capacity(watched)["NVIDIA A100-SXM4-80GB"]
    assert (group.reclaimable, group.leased, group.idle) == (1, 1, 0)
    assert group.ineffective == api.Ineffective(
        idle=0, leased_idle=1, resident=0, busy_without_work=0, of=1, ratio=1.0
    )
    watched.stays(1, {**RESTING, "utilization_ratio": 0.5})
    assert capacity(watched)["NVIDIA A100-SXM4-80GB"].reclaimable == 0


def test_a_silent_lease_is_not_reclaimable() -> None:
    watched = Watched(settings=IdleSettings(reclaim_idle_s=10.0, reclaim_grace_s=5.0))
    watched.fleet.allocation[0], watched.fleet.allocated_at[0] = LEASED, watched.now
    watched.stays(30, RESTING)
    assert capacity(watched)["NVIDIA A100-SXM4-80GB"].reclaimable == 1
    watched.misses(6)
    assert capacity(watched)["NVIDIA A100-SXM4-80GB"].reclaimable == 0


def test_a_lease_whose_beginning_is_not_known_is_not_reclaimable() -> None:
    watched = Watched(settings=IdleSettings(reclaim_idle_s=10.0, reclaim_grace_s=5.0))
    watched.fleet.allocation[0] = LEASED
    watched.stays(30, RESTING)
    assert capacity(watched)["NVIDIA A100-SXM4-80GB"].reclaimable == 0


def test_a_job_of_a_scheduler_is_reclaimable_like_a_lease() -> None:
    watched = Watched(settings=IdleSettings(reclaim_idle_s=10.0, reclaim_grace_s=5.0))
    watched.fleet.imported[0], watched.fleet.allocated_at[0] = LEASED, watched.now
    watched.stays(30, RESTING)
    assert capacity(watched)["NVIDIA A100-SXM4-80GB"].reclaimable == 1


def test_a_model_may_have_its_own_patience() -> None:
    own = ModelSettings(model="NVIDIA A100-SXM4-80GB", reclaim_idle_s=10.0, reclaim_grace_s=5.0)
    watched = Watched(device("g0"), device("g1", model="NVIDIA L40"), settings=IdleSettings(models=[own]))
    watched.fleet.allocation[:2], watched.fleet.allocated_at[:2] = LEASED, watched.now
    watched.stays(30, RESTING, RESTING)
    found = capacity(watched)
    assert (found["NVIDIA A100-SXM4-80GB"].reclaimable, found["NVIDIA L40"].reclaimable) == (1, 0)


def test_ineffective_compute_is_idle_leased_idle_resident_and_busy_without_work() -> None:
    watched = Watched(
        device("g0"), device("g1"), device("g2"), device("g3"), device("g4"), device("g5"),
        settings=IdleSettings(reclaim_idle_s=30.0, reclaim_grace_s=10.0),
    )
    for row in range(6):
        watched.engine.accept(row, NAN, 0.6 * GIB)
    watched.fleet.allocation[2], watched.fleet.allocated_at[2] = LEASED, watched.now
    working = {**BUSY, "compute_active_ratio": 0.6}
    watched.stays(70, IDLE, HOLDING, RESTING, SPINNING, working, {**BUSY, "utilization_ratio": NAN})
    group = capacity(watched)["NVIDIA A100-SXM4-80GB"]
    assert (group.seen, group.unavailable) == (6, 1)  # of the last one nothing can be said
    assert group.ineffective == api.Ineffective(
        idle=1, leased_idle=1, resident=1, busy_without_work=1, of=5, ratio=0.8
    )


@pytest.mark.parametrize("unknown", ["compute_active_ratio", "power_watts"])
def test_busy_without_work_needs_every_witness(unknown: str) -> None:
    watched = Watched(device("g0"), device("g1"))
    watched.stays(70, SPINNING, {**SPINNING, unknown: NAN})
    group = capacity(watched)["NVIDIA A100-SXM4-80GB"]
    assert (group.unmanaged, group.ineffective.busy_without_work) == (2, 1)


def test_fragmentation_is_what_gangs_cannot_use() -> None:
    slots = np.array([[70, 30, 10, 0], [16, 8, 4, 2], [0, 0, 0, 0]])  # ten nodes with 7 free each; two with 8; none
    shares = fragmentation(slots, np.array([70, 16, 0]))
    assert shares.tolist() == [[0.0, 1 - 60 / 70, 1 - 40 / 70, 1.0], [0.0] * 4, [0.0] * 4]


def test_the_largest_block_is_found_for_each_group_and_unknown_domains_make_none() -> None:
    group = np.array([0, 0, 0, 1, 1, 2], dtype=np.int32)
    domain = np.array([4, 4, 7, 4, -1, -1], dtype=np.int32)
    assert largest_blocks(group, domain, 4).tolist() == [2, 1, 0, 0]


def test_the_largest_block_is_known_for_nodes_and_for_links_and_racks_that_are() -> None:
    watched = Watched(device("g0", link_domain="a"), device("g1", link_domain="b"), device("g2", link_domain="b"))
    watched.stays(70, IDLE, IDLE, IDLE)
    group = capacity(watched)["NVIDIA A100-SXM4-80GB"]
    assert group.largest_block == api.Block(node=3, link=2, rack=None)
    watched.hello(rack="r7")
    watched.stays(70, IDLE, IDLE, IDLE)
    assert capacity(watched)["NVIDIA A100-SXM4-80GB"].largest_block.rack == 3


def fleet_of_all_kinds() -> Watched:
    watched = Watched(
        device("g0"), device("g1"), device("n0", vendor="ascend", model="910B2"),
        device("m0", vendor="metax", model="MXC500"), device("x0", vendor="acme", model="X1"),
        device("h0", device_class="general", vendor="intel", model="Xeon"),
    )
    watched.stays(
        130, IDLE, BUSY, NPU, {**C500, "power_limit_watts": 350.0, "power_watts": 57.0}, IDLE, HOST,
    )
    return watched


def test_totals_are_by_what_was_asked_and_never_over_classes() -> None:
    watched = fleet_of_all_kinds()
    general, intelligent = totals(watched)
    assert (general.device_class, intelligent.device_class) == ("general", "intelligent")
    assert (intelligent.devices, intelligent.idle) == (5, 4)
    assert intelligent.idle_flops == api.Peak(flops=312e12 + 376e12 + 240e12, unknown=1)
    assert intelligent.flops == api.Peak(flops=2 * 312e12 + 376e12 + 240e12, unknown=1)
    assert general.idle_flops == api.Peak(flops=None, unknown=1)
    assert (general.idle_memory_bytes, general.idle_memory_unknown) == (500 * GIB, 0)
    assert intelligent.memory_bytes == (80 + 80 + 64 + 64 + 80) * GIB


def test_totals_tell_domestic_from_foreign_and_say_what_is_neither() -> None:
    found = {total.domestic: total for total in totals(fleet_of_all_kinds(), "domestic")
             if total.device_class == "intelligent"}
    assert {domestic: (total.devices, total.idle) for domestic, total in found.items()} == {
        False: (2, 1), True: (2, 2), None: (1, 1),
    }
    assert found[True].idle_flops == api.Peak(flops=616e12, unknown=0)
    assert found[None].idle_flops == api.Peak(flops=None, unknown=1)


def test_totals_at_another_precision_are_other_sums() -> None:
    by_vendor = {total.vendor: total for total in totals(fleet_of_all_kinds(), "vendor", precision="fp32")}
    assert by_vendor["nvidia"].idle_flops == api.Peak(flops=19.5e12, unknown=0)
    assert by_vendor["ascend"].idle_flops == api.Peak(flops=None, unknown=1)


def test_every_precision_of_the_catalogue_can_be_asked_for() -> None:
    watched = fleet_of_all_kinds()
    assert set(capacity(watched, PRECISIONS)["910B2"].idle_flops) == set(PRECISIONS)
