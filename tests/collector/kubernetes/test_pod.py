"""How many accelerators a pod asks for."""

from typing import Any

import pytest

from fallow_collector.kubernetes.pod import PodError, demand
from fallow_proto.kubernetes.resources import Kind

GPU = Kind("nvidia")


def container(count: object, always: bool = False, resource: str = "nvidia.com/gpu") -> dict[str, Any]:
    made: dict[str, Any] = {"name": "c", "resources": {"limits": {resource: count, "cpu": "500m"}}}
    return made | ({"restartPolicy": "Always"} if always else {})


@pytest.mark.parametrize(("containers", "inits", "count"), [
    ([container("2")], [], 2),
    ([container("2"), container(1)], [], 3),
    ([container("1")], [container("4")], 4),
    ([container("3")], [container("1", always=True)], 4),
    ([container("1")], [container("1", always=True), container("2")], 3),
    ([container("1")], [container("2"), container("1", always=True)], 2),
], ids=["one", "sum", "larger init", "sidecar", "init after a sidecar", "init before a sidecar"])
def test_demand_is_what_kubernetes_says_a_pod_requests(
    containers: list[Any], inits: list[Any], count: int
) -> None:
    assert demand({"spec": {"containers": containers, "initContainers": inits}}) == {GPU: count}


def test_kinds_are_counted_apart_and_others_do_not_matter() -> None:
    pod = {"spec": {"containers": [
        container("1"), container("2", resource="nvidia.com/mig-1g.10gb"), container("1", resource="rdma/hca"),
    ]}}
    assert demand(pod) == {GPU: 1, Kind("nvidia", "1g.10gb"): 2}


def test_requests_without_limits_count_and_the_same_in_both_counts_once() -> None:
    both = {"nvidia.com/gpu": "2"}
    assert demand({"spec": {"containers": [{"resources": {"requests": both}}]}}) == {GPU: 2}
    assert demand({"spec": {"containers": [{"resources": {"requests": both, "limits": both}}]}}) == {GPU: 2}


def test_a_pod_without_accelerators_asks_for_none() -> None:
    assert demand({"spec": {"containers": [{"name": "c"}, container("0")]}}) == {}


@pytest.mark.parametrize("pod", [
    {}, {"spec": None}, {"spec": {"containers": "c"}}, {"spec": {"containers": [container("1.5")]}},
    {"spec": {"containers": [container("-1")]}}, {"spec": {"containers": [container("many")]}},
])
def test_what_cannot_be_understood_is_an_error_and_never_zero(pod: dict[str, Any]) -> None:
    with pytest.raises(PodError, match=r"expected|no list"):
        demand(pod)
