"""What a Hello says of devices and readers."""

from fallow_agent.readers.reader import DeviceIdentity
from fallow_agent.readers.status import Status
from fallow_proto.v1 import telemetry_pb2 as pb


def device_message(reader: str, device: DeviceIdentity) -> pb.Device:
    return pb.Device(
        uuid=device.uuid,
        vendor=device.vendor,
        model=device.model,
        device_class=device.device_class,
        index=device.index,
        minor=device.minor,
        pci_bus_id=device.pci_bus_id,
        parent=device.parent,
        partition_profile=device.partition_profile,
        serial=device.serial,
        driver_version=device.driver_version,
        reader=reader,
        unsupported=sorted(device.unsupported),
        conditions=device.conditions,
        mode=device.mode,
        link_domain=device.link_domain,
    )


def reader_message(status: Status, since_ms: int) -> pb.Reader:
    """since_ms: `status.since` as unix milliseconds."""
    return pb.Reader(name=status.name, state=status.state, since_ms=since_ms, message=status.message)
