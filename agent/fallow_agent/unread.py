"""Devices on the PCI bus that no reader claims: shown, so that nobody misses them, and never idle."""

import hashlib
from collections.abc import Iterable, Sequence

from fallow_agent.readers.pci_bus import VENDORS, VFIO, Accelerator
from fallow_proto.states import Condition, DeviceClass
from fallow_proto.v1 import telemetry_pb2 as pb


def unread(on_bus: Sequence[Accelerator], read: Iterable[pb.Device], node: str) -> list[pb.Device]:
    """What is on the bus and at no address of the devices that readers named."""
    claimed = {device.pci_bus_id for device in read}
    return [
        _device(found, index, node) for index, found in enumerate(on_bus) if found.function.address not in claimed
    ]


def _device(found: Accelerator, index: int, node: str) -> pb.Device:
    address, driver = found.function
    return pb.Device(
        uuid=uuid_of(node, address),
        vendor=VENDORS.get(found.vendor_id, f"{found.vendor_id:04x}"),
        model=f"pci {found.vendor_id:04x}:{found.device_id:04x}",
        device_class=DeviceClass.INTELLIGENT,
        index=index,
        pci_bus_id=address,
        conditions=[Condition.PASSTHROUGH if driver == VFIO else Condition.UNREAD],
    )


def uuid_of(node: str, address: str) -> str:
    """A name that lasts for whatever is at this address of this node."""
    return "pci-" + hashlib.sha256(f"{node} {address}".encode()).hexdigest()[:32]
