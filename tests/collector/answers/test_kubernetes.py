"""The extender over a fleet under watch, and over HTTP as kube-scheduler speaks it."""

import httpx
import numpy as np

from fallow_collector.answers.kubernetes import Extender
from fallow_collector.idle import phase
from fallow_collector.kubernetes.extender import Args
from fallow_collector.view import View
from fallow_proto.states import Allocation
from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.served import served
from tests.collector.watching import BUSY, IDLE, Watched, device

POD = {"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "2"}}}]}}


def watched() -> Watched:
    """Three idle devices, and one that works."""
    found = Watched(*(device(f"g{i}") for i in range(4)))
    found.fleet.nodes[0].agent_version = "1"
    found.stays(62, IDLE, IDLE, IDLE, BUSY)
    return found


def extender(fleet: Watched) -> Extender:
    return Extender(fleet.fleet, View(fleet.fleet, fleet.engine, lambda: fleet.now, lambda: fleet.WALL + fleet.now))


def asks(fleet: Watched, count: int) -> tuple[list[str] | None, dict[str, str]]:
    pod = {"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": str(count)}}}]}}
    result = extender(fleet).filter(Args(pod=pod, node_names=["n1", "elsewhere"]))
    return result.node_names, {**result.failed_nodes, **result.failed_and_unresolvable_nodes}


def test_idle_devices_count_and_busy_ones_do_not() -> None:
    assert asks(watched(), 3)[0] == ["n1"]
    names, why = asks(watched(), 4)
    assert names == []
    assert why["n1"] == "fallow: 3/4 nvidia idle, 4 asked: 1 active"
    assert why["elsewhere"].startswith("fallow: no agent speaks for this node")


def test_silence_makes_a_node_unfit() -> None:
    fleet = watched()
    fleet.now += 10
    names, why = asks(fleet, 1)
    assert (names, why["n1"]) == ([], "fallow: 0/4 nvidia idle, 1 asked: 4 stale")


def test_a_device_with_a_lease_or_of_another_scheduler_is_not_kubernetes() -> None:
    fleet = watched()
    fleet.fleet.allocation[0] = phase.ALLOCATIONS.index(Allocation.RESERVED)
    fleet.fleet.ledgers.append("slurm")
    fleet.fleet.ledger[1] = 1
    names, why = asks(fleet, 2)
    assert (names, why["n1"]) == ([], "fallow: 1/3 nvidia idle, 2 asked: 1 active, 1 reserved")


def test_what_pods_hold_could_be_evicted() -> None:
    fleet = watched()
    fleet.fleet.ledgers.append("kubernetes")
    fleet.fleet.ledger[:4] = 1
    fleet.fleet.imported[np.arange(2)] = phase.ALLOCATIONS.index(Allocation.LEASED)
    pod = {"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "3"}}}]}}
    result = extender(fleet).filter(Args(pod=pod, node_names=["n1"]))
    assert list(result.failed_nodes) == ["n1"]
    assert result.failed_and_unresolvable_nodes == {}


def test_a_pod_that_cannot_be_understood_is_an_error_for_the_scheduler() -> None:
    assert extender(watched()).filter(Args(pod={}, node_names=["n1"])).error.startswith("fallow: Pod has no spec")


def test_the_wire_is_that_of_kube_scheduler() -> None:
    nodes = {"metadata": {}, "items": [{"metadata": {"name": "n1"}}, {"metadata": {"name": "elsewhere"}}]}
    with served(MemoryAnswers(), kubernetes=extender(watched())) as address:
        asked = {"Pod": POD, "Nodes": nodes, "NodeNames": None}
        found = httpx.post(f"{address}/api/v1/kubernetes/filter", json=asked).json()
        assert [item["metadata"]["name"] for item in found["Nodes"]["items"]] == ["n1"]
        assert set(found) == {"Nodes", "NodeNames", "FailedNodes", "FailedAndUnresolvableNodes", "Error"}
        assert set(found["FailedAndUnresolvableNodes"]) == {"elsewhere"}
        scores = httpx.post(f"{address}/api/v1/kubernetes/prioritize", json={"Pod": POD, "NodeNames": ["n1"]}).json()
        assert scores == [{"Host": "n1", "Score": 8}]
        refused = httpx.post(f"{address}/api/v1/kubernetes/prioritize", json={"NodeNames": ["n1"]})
        assert refused.status_code == 400
