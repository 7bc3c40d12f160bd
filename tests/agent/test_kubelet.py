"""Kubelet's PodResources as a ledger: over its real protocol, on a socket as kubelet's."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from grpc import aio

from fallow_agent.kubelet import Kubelet, ledger_of
from fallow_proto.kubernetes import podresources_pb2 as kubelet
from fallow_proto.kubernetes.podresources_pb2_grpc import (
    PodResourcesListerServicer,
    add_PodResourcesListerServicer_to_server,
)
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.collector import Collector, wait_for
from tests.agent.process import AgentProcess

DEVICES = [pb.Device(uuid=f"GPU-{i}", pci_bus_id=f"0000:{i + 16:x}:00.0", index=i) for i in range(4)]


def given(resource: str, *ids: str) -> kubelet.ContainerDevices:
    return kubelet.ContainerDevices(resource_name=resource, device_ids=ids)


def pod(name: str, *devices: kubelet.ContainerDevices) -> kubelet.PodResources:
    return kubelet.PodResources(
        name=name, namespace="ns", containers=[kubelet.ContainerResources(name="c", devices=devices)]
    )


def read(pods: list[kubelet.PodResources], *allocatable: kubelet.ContainerDevices) -> pb.Ledger:
    return ledger_of(
        kubelet.ListPodResourcesResponse(pod_resources=pods),
        kubelet.AllocatableResourcesResponse(devices=allocatable), DEVICES,
    )


def allocated(ledger: pb.Ledger) -> dict[str, str]:
    return {allocation.device: allocation.holder for allocation in ledger.allocations}


ALL = given("nvidia.com/gpu", "GPU-0", "GPU-1", "GPU-2", "GPU-3")


def test_pods_hold_devices_and_kubelet_owns_what_it_may_hand_out() -> None:
    ledger = read([pod("a", given("nvidia.com/gpu", "GPU-0", "GPU-2")), pod("b")], ALL)
    assert (ledger.name, ledger.problem) == ("kubernetes", "")
    assert allocated(ledger) == {"GPU-0": "ns/a", "GPU-2": "ns/a"}
    assert list(ledger.owned) == ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]


def test_a_device_is_found_by_its_pci_address_as_well() -> None:
    ledger = read([pod("a", given("metax-tech.com/gpu", "0000:11:00.0", "00000000:12:00.0"))])
    assert allocated(ledger) == {"GPU-1": "ns/a", "GPU-2": "ns/a"}


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "nvidia.com/gpu.shared"])
def test_a_share_of_a_device_takes_the_device(resource: str) -> None:
    ledger = read([pod("a", given(resource, "GPU-1::0")), pod("b", given(resource, "GPU-1::1"))], ALL)
    assert {allocation.device for allocation in ledger.allocations} == {"GPU-1"}
    assert ledger.problem == ""


def test_what_is_no_accelerator_does_not_matter() -> None:
    ledger = read([pod("a", given("rdma/hca", "mlx5_0"))], ALL, given("intel.com/sriov", "0000:99:00.1"))
    assert (ledger.problem, allocated(ledger)) == ("", {})


@pytest.mark.parametrize("device_id", ["3", "nvidia3", "GPU-unknown", ""])
def test_an_id_that_names_no_device_here_makes_the_reading_unusable_and_is_never_an_index(device_id: str) -> None:
    ledger = read([pod("a", given("nvidia.com/gpu", device_id))], ALL)
    assert "expected the uuid or PCI address" in ledger.problem
    assert allocated(ledger) == {}


class FakeKubelet(PodResourcesListerServicer):
    def __init__(self, pods: list[kubelet.PodResources]) -> None:
        self.pods = pods

    async def List(self, request: object, context: object) -> kubelet.ListPodResourcesResponse:
        return kubelet.ListPodResourcesResponse(pod_resources=self.pods)

    async def GetAllocatableResources(
        self, request: object, context: object
    ) -> kubelet.AllocatableResourcesResponse:
        return kubelet.AllocatableResourcesResponse(devices=[ALL])


class Silent(FakeKubelet):
    async def List(self, request: object, context: object) -> kubelet.ListPodResourcesResponse:
        await asyncio.Event().wait()
        raise AssertionError


class Old(FakeKubelet):
    """A kubelet without GetAllocatableResources answers as gRPC does for a method that is not there."""

    async def GetAllocatableResources(self, request: object, context: aio.ServicerContext) -> None:  # type: ignore[override, type-arg]
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not implemented!")


def with_kubelet(
    folder: Path, servicer: PodResourcesListerServicer | None, work: Callable[[Kubelet], Awaitable[None]]
) -> None:
    async def run() -> None:
        path = folder / "kubelet.sock"
        server = aio.server()
        if servicer is not None:
            add_PodResourcesListerServicer_to_server(servicer, server)
            server.add_insecure_port(f"unix:{path}")
        await server.start()
        asked = Kubelet(str(path))
        try:
            await work(asked)
        finally:
            await asked.close()
            await server.stop(None)

    asyncio.run(run())


def test_kubelet_is_asked_over_its_socket_and_every_answer_is_new(tmp_path: Path) -> None:
    servicer = FakeKubelet([pod("a", given("nvidia.com/gpu", "GPU-0"))])

    async def work(asked: Kubelet) -> None:
        ledger = await asked.read(DEVICES)
        assert allocated(ledger) == {"GPU-0": "ns/a"}
        assert 0 < ledger.age_s < 10
        servicer.pods = []
        assert allocated(await asked.read(DEVICES)) == {}

    with_kubelet(tmp_path, servicer, work)


@pytest.mark.parametrize(("servicer", "message"), [
    (None, "cannot be asked"), (Old([]), "expected Kubernetes 1.28"), (Silent([]), "did not answer within"),
], ids=["no socket", "old", "silent"])
def test_a_kubelet_that_does_not_answer_is_a_problem_and_not_an_empty_ledger(
    tmp_path: Path, servicer: PodResourcesListerServicer | None, message: str
) -> None:
    async def work(asked: Kubelet) -> None:
        ledger = await asked.read(DEVICES)
        assert message in ledger.problem
        assert ledger.name == "kubernetes"

    with_kubelet(tmp_path, servicer, work)


def test_a_kubelet_that_is_away_is_looked_for_as_often_however_long_it_is(tmp_path: Path) -> None:
    """gRPC by itself looks ever more seldom, in the end every two minutes."""
    tried = 0

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tried
        tried += 1
        writer.close()

    async def run() -> None:
        asked = Kubelet(str(tmp_path / "kubelet.sock"))
        async with await asyncio.start_unix_server(refuse, tmp_path / "kubelet.sock"), asyncio.timeout(60.0):
            while tried < 10:
                assert (await asked.read(DEVICES)).problem
                await asyncio.sleep(0.05)
        await asked.close()

    asyncio.run(run())


def test_an_agent_tells_its_collector_what_kubelet_says_and_when_it_says_nothing(tmp_path: Path) -> None:
    socket = tmp_path / "kubelet.sock"

    def heard(collector: Collector) -> list[pb.Ledger]:
        return [message.ledger for message in collector.heard if message.HasField("ledger")]

    async def run(collector: Collector) -> None:
        server = aio.server()
        add_PodResourcesListerServicer_to_server(FakeKubelet([]), server)
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        await asyncio.to_thread(wait_for, lambda: heard(collector), "a ledger")
        assert "GPU-0" in heard(collector)[-1].problem  # a host without accelerators has none of kubelet's
        await server.stop(None)
        await asyncio.to_thread(
            wait_for, lambda: "cannot be asked" in heard(collector)[-1].problem, "the ledger says that kubelet is gone"
        )

    with Collector() as collector, \
            AgentProcess(tmp_path, collector.address, f'kubernetes.pod_resources = "{socket}"'):
        asyncio.run(run(collector))
