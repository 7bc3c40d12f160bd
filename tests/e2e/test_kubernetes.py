"""A node of Kubernetes with real programs: kubelet's socket → agent → collector, and kube-scheduler's questions."""

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest

from fallow_proto.kubernetes import podresources_pb2 as kubelet
from fallow_proto.kubernetes.podresources_pb2_grpc import (
    PodResourcesListerServicer,
    add_PodResourcesListerServicer_to_server,
)
from tests.e2e.programs import Agent, Collector, until
from tests.e2e.test_path import BUSY, FIRST, QUICK, SECOND, board
from tests.simulators.nvml.scenario import Scenario
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")

QUICKER = (*QUICK, "idle.confirm_after_release_s = 1.0")


class Kubelet(PodResourcesListerServicer):
    """Gives both boards out; `pods` says to whom."""

    def __init__(self) -> None:
        self.pods: dict[str, str] = {}
        self.lock = threading.Lock()

    def List(self, request: object, context: object) -> kubelet.ListPodResourcesResponse:
        with self.lock:
            return kubelet.ListPodResourcesResponse(pod_resources=[
                kubelet.PodResources(name=pod, namespace="default", containers=[
                    kubelet.ContainerResources(devices=[given(uuid)]),
                ]) for uuid, pod in self.pods.items()
            ])

    def GetAllocatableResources(self, request: object, context: object) -> kubelet.AllocatableResourcesResponse:
        return kubelet.AllocatableResourcesResponse(devices=[given(FIRST, SECOND)])


def given(*uuids: str) -> kubelet.ContainerDevices:
    return kubelet.ContainerDevices(resource_name="nvidia.com/gpu", device_ids=uuids)


@contextmanager
def served(socket: Path, servicer: Kubelet) -> Iterator[None]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_PodResourcesListerServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()


def says(collector: Collector, uuid: str) -> tuple[str, str]:
    device = collector.devices().get(uuid)
    return (device.phase, device.ledger) if device else ("", "")


def reasons(collector: Collector, uuid: str) -> tuple[str, list[str]]:
    device = collector.devices()[uuid]
    return device.phase, device.reasons


def filtered(collector: Collector, count: int) -> dict[str, object]:
    pod = {"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": str(count)}}}]}}
    asked = {"Pod": pod, "NodeNames": ["n1", "n2"]}
    answer = httpx.post(f"{collector.url}/api/v1/kubernetes/filter", json=asked, trust_env=False)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def test_what_pods_hold_is_leased_and_a_silent_kubelet_leaves_nothing_idle(tmp_path: Path, nvml: Simulator) -> None:
    nvml.play(Scenario((board(0), board(1))))
    socket = tmp_path / "kubelet.sock"
    node = Kubelet()
    node.pods[FIRST] = "trainer"
    with Collector(tmp_path, *QUICKER) as collector, Agent(
        tmp_path, collector.grpc, "interval_s = 0.5", f'kubernetes.pod_resources = "{socket}"',
        more_environment=nvml.environment,
    ):
        with served(socket, node):
            until(lambda: says(collector, FIRST) == ("leased", "kubernetes"), "the pod's board is leased")
            until(lambda: says(collector, SECOND) == ("idle", "kubernetes"), "the other is idle")

            nvml.change(0, **BUSY)
            until(lambda: (collector.devices()[FIRST].power_watts or 0) > 600, "the pod works")
            assert says(collector, FIRST)[0] == "leased"
            assert filtered(collector, 1)["NodeNames"] == ["n1"]
            assert set(filtered(collector, 2)["FailedNodes"]) == {"n1"}  # type: ignore[call-overload]

            lease = httpx.post(f"{collector.url}/api/v1/leases", json={"devices": [SECOND]}, trust_env=False)
            assert (lease.status_code, lease.json()["code"]) == (409, "owned_by_scheduler")

        until(lambda: reasons(collector, SECOND) == ("unknown", ["ledger_stale"]), "a silent kubelet leaves none idle")
        assert reasons(collector, FIRST)[0] == "unknown"

        with served(socket, node):
            until(lambda: says(collector, FIRST)[0] == "leased", "kubelet speaks again")
            until(lambda: says(collector, SECOND)[0] == "idle", "and the quiet board is offered again")
            nvml.change(1, **BUSY)  # nobody's pod
            until(lambda: says(collector, SECOND)[0] == "unmanaged", "work without a pod is unmanaged")
            refused = filtered(collector, 1)
            assert refused["NodeNames"] == []
            assert "0/2 nvidia idle, 1 asked" in str(refused["FailedNodes"])
