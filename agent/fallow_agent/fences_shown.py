"""What scripts on the node are shown of fences: one small file of JSON that any user may read.

    {"version": 1, "node": …, "written": …, "devices": {uuid: {"token", "held", "lease_id", "holder", "index", "minor",
    "pci_bus_id"}}}

for all devices that are there or were ever fenced; null where there is none. It lies in the run folder, which does not
outlive a reboot: no script takes an old boot's word for today's.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from fallow_agent.fences import Kept
from fallow_proto.durable import replace
from fallow_proto.v1 import telemetry_pb2 as pb

FILE = "fences.json"
VERSION = 1


def shown(node: str, time_s: float, devices: Iterable[pb.Device], kept: Kept) -> bytes:
    """The file's content. time_s: unix seconds."""
    there = {device.uuid: device for device in devices}
    return msgspec.json.format(msgspec.json.encode({
        "version": VERSION,
        "node": node,
        "written": datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "devices": {uuid: _row(there.get(uuid), kept.get(uuid)) for uuid in [*there, *(kept.keys() - there.keys())]},
    }), indent=1) + b"\n"


def write(path: Path, content: bytes) -> None:
    """Raises OSError."""
    replace(path, content, mode=0o644)


def _row(device: pb.Device | None, fence: pb.DeviceFence | None) -> Mapping[str, Any]:
    return {
        "token": fence.token if fence else None,
        "held": fence.held if fence else False,
        "lease_id": fence.lease_id or None if fence else None,
        "holder": fence.holder or None if fence else None,
        "index": device.index if device else None,
        "minor": device.minor if device and device.HasField("minor") else None,
        "pci_bus_id": device.pci_bus_id or None if device else None,
    }
