"""Which of the devices that a reader names can be told from each other: pure.

A uuid is what everything goes by, up to the store's series. Two devices of one uuid would each be given the other's
readings, and a busy one could look idle; and no collector takes a node that names one twice, or by no name at all. So
such devices are left out: of those on the PCI bus it is shown that nobody reads them.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from fallow_agent.readers.reader import DeviceIdentity


class Apart(NamedTuple):
    """problems: a sentence for each device that is left out."""

    devices: tuple[DeviceIdentity, ...]
    problems: tuple[str, ...]


def told_apart(devices: Sequence[DeviceIdentity]) -> Apart:
    """The devices whose uuid is a name of their own; of partitions only those whose board is among them."""
    times = Counter(device.uuid for device in devices)
    faults = {device.uuid: fault for device in devices if (fault := _fault(device.uuid, times[device.uuid]))}
    for device in devices:
        if device.parent and (device.parent in faults or device.parent not in times):
            faults.setdefault(device.uuid, f"is part of {device.parent!r}, which cannot be named")
    return Apart(
        tuple(device for device in devices if device.uuid not in faults),
        tuple(
            f"device {device.index} ({device.model}) is left out: its uuid {device.uuid!r} {faults[device.uuid]}"
            for device in devices if device.uuid in faults
        ),
    )


def _fault(uuid: str, times: int) -> str:
    """Why it is no name, empty when it is one."""
    if times > 1:
        return f"is that of {times} devices"
    if not uuid:
        return "is empty"
    if not uuid.isprintable() or " " in uuid or uuid.endswith("\\"):
        return "holds a space or a control character, or ends in a backslash"
    return ""
