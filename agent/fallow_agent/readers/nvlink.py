"""Which NVIDIA devices reach each other over their own links, directly or through switches.

Read once, when devices are named: as many calls as a device has links.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import pynvml as nvml

Handle = Any  # pynvml's c_nvmlDevice_t

_LINKS = range(nvml.NVML_NVLINK_MAX_LINKS)
_NOWHERE = "0000:00:00.0"  # a virtual machine is not told where its switches are
_ENDS = frozenset({nvml.NVML_NVLINK_DEVICE_TYPE_GPU, nvml.NVML_NVLINK_DEVICE_TYPE_SWITCH})


class Reach(NamedTuple):
    """What one device says: its own PCI address, those of devices and switches at the far ends of its active links,
    and its fabric, by which it reaches devices of other nodes as well ("": none, or not known).
    """

    pci_bus_id: str
    far_ends: frozenset[str] = frozenset()
    fabric: str = ""


def reach_of(handle: Handle, pci_bus_id: str) -> Reach:
    """Asks the device; what it does not tell is left out."""
    return Reach(pci_bus_id, frozenset(_far_ends(handle)), _fabric(handle))


def domains(reaches: Mapping[str, Reach]) -> dict[str, str]:
    """Link domain by uuid, for the devices of a node; only those that have one.

    A fabric is a domain as it is, on all its nodes. Else devices whose links meet are one, named after the first uuid
    among them; a device that meets no other has none.
    """
    found = {uuid: reach.fabric for uuid, reach in reaches.items() if reach.fabric}
    for members in _meeting({uuid: reach for uuid, reach in reaches.items() if not reach.fabric}):
        if len(members) > 1:
            found |= dict.fromkeys(members, f"nvlink-{min(members)}")
    return found


def address_of(info: Any) -> str:
    """An nvmlPciInfo_t in the kernel's spelling; NVML's own has eight digits of domain, in capitals."""
    return f"{info.domain:04x}:{info.bus:02x}:{info.device:02x}.0"


def _meeting(reaches: Mapping[str, Reach]) -> Iterable[set[str]]:
    """Devices, grouped by the places that they touch: their own address and their links' far ends."""
    groups: list[tuple[set[str], set[str]]] = []  # uuids, and the places of all of them
    for uuid, reach in reaches.items():
        members, places = {uuid}, {reach.pci_bus_id, *reach.far_ends} - {"", _NOWHERE}
        apart = []
        for group in groups:
            if places.isdisjoint(group[1]):
                apart.append(group)
            else:
                members |= group[0]
                places |= group[1]
        groups = [*apart, (members, places)]
    return [members for members, _ in groups]


def _far_ends(handle: Handle) -> Iterable[str]:
    for link in _LINKS:
        try:
            active = nvml.nvmlDeviceGetNvLinkState(handle, link) == nvml.NVML_FEATURE_ENABLED
        except nvml.NVMLError:
            return  # it has no links, or no more
        if not active:
            continue
        try:
            if nvml.nvmlDeviceGetNvLinkRemoteDeviceType(handle, link) in _ENDS:
                yield address_of(nvml.nvmlDeviceGetNvLinkRemotePciInfo(handle, link))
        except nvml.NVMLError:
            continue  # where this one leads is not known


def _fabric(handle: Handle) -> str:
    """Empty on a node of its own: there the fabric manager completes as well, with a cluster of zeros."""
    info = nvml.c_nvmlGpuFabricInfo_v2_t()
    try:
        nvml.nvmlDeviceGetGpuFabricInfoV(handle, nvml.byref(info))
    except nvml.NVMLError:
        return ""
    cluster = UUID(bytes=bytes(info.clusterUuid))
    joined = info.state == nvml.NVML_GPU_FABRIC_STATE_COMPLETED and info.status == nvml.NVML_SUCCESS
    return f"fabric-{cluster}-{info.cliqueId}" if joined and cluster.int else ""
