"""What the kubelet of this node has given to pods: its PodResources API, read as a ledger.

Device ids are what the vendor's device plugin made them: a uuid for most, a PCI address for some, with "::3" behind for
a share of a device. An id that names no device here makes the whole reading unusable: it is one of ours, taken, and
not known which.
"""

import time
from collections.abc import Iterable, Sequence

import grpc
from grpc import aio

from fallow_proto.kubernetes import podresources_pb2 as kubelet
from fallow_proto.kubernetes.podresources_pb2_grpc import PodResourcesListerStub
from fallow_proto.kubernetes.resources import kind_of
from fallow_proto.v1 import telemetry_pb2 as pb

LEDGER = "kubernetes"
EVERY_S = 3.0  # a third of the collector's ledger_stale_s
DEADLINE_S = 2.0
MAX_BYTES = 16 * 2**20  # kubelet's own client allows as much


class Kubelet:
    """One kubelet, at the path of its socket."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        options = [
            ("grpc.max_receive_message_length", MAX_BYTES), ("grpc.enable_http_proxy", 0),
            # Each question looks for it: gRPC's own pause between two looks grows to 120 s.
            ("grpc.max_reconnect_backoff_ms", 500),
        ]
        self._channel = aio.insecure_channel(f"unix:{socket}", options=options)
        self._stub = PodResourcesListerStub(self._channel)

    async def read(self, devices: Sequence[pb.Device]) -> pb.Ledger:
        """All that it has given out of these devices; a ledger with a problem if that cannot be told."""
        began = time.monotonic()
        try:
            allocatable = await self._stub.GetAllocatableResources(
                kubelet.AllocatableResourcesRequest(), timeout=DEADLINE_S
            )
            pods = await self._stub.List(kubelet.ListPodResourcesRequest(), timeout=DEADLINE_S)
        except aio.AioRpcError as error:
            return pb.Ledger(name=LEDGER, problem=_why(self._socket, error))
        ledger = ledger_of(pods, allocatable, devices)
        ledger.age_s = time.monotonic() - began  # the state may be as old as the first question
        return ledger

    async def close(self) -> None:
        await self._channel.close(None)


def ledger_of(
    pods: kubelet.ListPodResourcesResponse, allocatable: kubelet.AllocatableResourcesResponse,
    devices: Sequence[pb.Device],
) -> pb.Ledger:
    """Devices by uuid or PCI address, never by index."""
    known = {device.uuid: device.uuid for device in devices}
    known |= {_pci(device.pci_bus_id): device.uuid for device in devices if device.pci_bus_id}
    taken = [
        (f"{pod.namespace}/{pod.name}", entry)
        for pod in pods.pod_resources for container in pod.containers for entry in container.devices
    ]
    strange = sorted({
        f"{entry.resource_name} {device_id!r}"
        for entry in [*allocatable.devices, *(entry for _, entry in taken)]
        for device_id in _accelerators(entry) if _find(device_id, known) is None
    })
    owned = {_find(device_id, known) for entry in allocatable.devices for device_id in _accelerators(entry)}
    allocations = {
        (_find(device_id, known), holder) for holder, entry in taken for device_id in _accelerators(entry)
    }
    return pb.Ledger(
        name=LEDGER,
        problem=_strange(strange),
        allocations=[pb.Allocation(device=uuid, holder=holder) for uuid, holder in sorted(_named(allocations))],
        owned=sorted({uuid for uuid in owned if uuid} | {uuid for uuid, _ in _named(allocations)}),
    )


def _named(allocations: Iterable[tuple[str | None, str]]) -> set[tuple[str, str]]:
    return {(uuid, holder) for uuid, holder in allocations if uuid is not None}


def _accelerators(entry: kubelet.ContainerDevices) -> Iterable[str]:
    """Ids of accelerators; network cards and the like have plugins as well."""
    return entry.device_ids if _is_accelerator(entry.resource_name) else ()


def _is_accelerator(resource: str) -> bool:
    """A share of a device (nvidia.com/gpu.shared, nvidia.com/gpu-2g…) takes the device like the whole."""
    return kind_of(resource) is not None or kind_of(resource.removesuffix(".shared")) is not None


def _find(device_id: str, known: dict[str, str]) -> str | None:
    bare = device_id.partition("::")[0]
    return known.get(bare) or known.get(_pci(bare))


def _pci(address: str) -> str:
    """0000:17:00.0, also of NVML's 00000000:17:00.0."""
    domain, colon, rest = address.lower().partition(":")
    return f"{domain[-4:]}{colon}{rest}"


def _strange(strange: Sequence[str]) -> str:
    if not strange:
        return ""
    return (
        f"kubelet names {len(strange)} devices that are not here ({', '.join(strange[:3])}); expected the uuid or PCI "
        f"address of a device that a reader of this agent sees"
    )


def _why(socket: str, error: aio.AioRpcError) -> str:
    match error.code():
        case grpc.StatusCode.UNIMPLEMENTED:
            return f"kubelet at {socket} has no GetAllocatableResources; expected Kubernetes 1.28 or newer"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"kubelet at {socket} did not answer within {DEADLINE_S:g} s"
        case _:
            return f"kubelet at {socket} cannot be asked: {error.details()}; may this agent's user open the socket?"
