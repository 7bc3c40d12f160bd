"""What NVIDIA's drivers say in the kernel's log: pure, one line at a time.

Spellings are those of the open kernel modules ("NVRM: Xid (PCI:%04x:%02x:%02x GPU-I:%02u GPU-CI:%02u): %d, pid=%s,
name=%s, …", parts of it absent) and of the NVSwitch driver ("nvidia-nvswitch%d: SXid (PCI:%s): %d, …").
"""

import re
from typing import NamedTuple

from fallow_agent.readers.attribution import NOWHERE, Place
from fallow_proto.states import EventKind

FALLEN_OFF = 79  # "GPU has fallen off the bus"

_XID = re.compile(r"NVRM: Xid \((?:PCI:)?(?P<pci>[0-9a-fA-F:.]+)(?P<place>[^)]*)\): (?P<code>\d{1,6})(?:, |$)")
_SXID = re.compile(r"nvidia-nvswitch\d+: SXid \(PCI:(?P<pci>[0-9a-fA-F:.]+)\): (?P<code>\d{1,6})(?:, |$)")
# Some drivers say so without an Xid, over several lines of one record (NVIDIA/NVSentinel issue 155).
_FALLEN = re.compile(
    r"NVRM: .*?(?P<pci>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\b).*fallen off the bus", re.DOTALL
)
_ADDRESS = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.[0-7])?")


_GPU_INSTANCE = re.compile(r"\bGPU-I:(\d{1,3})\b")
_COMPUTE_INSTANCE = re.compile(r"\bGPU-CI:(\d{1,3})\b")


class Said(NamedTuple):
    """Of the device or switch at a PCI address, "" where it is garbled, or of a place on it; times: as in Happening."""

    kind: EventKind
    pci_bus_id: str
    code: int
    message: str
    times: int = 1
    place: Place = NOWHERE


def told(text: str) -> Said | None:
    """What a line means; None for all the others, half lines included."""
    if match := _XID.match(text):
        return _said(EventKind.XID, match, text)._replace(place=_place(match["place"]))
    if match := _SXID.match(text):
        return _said(EventKind.SXID, match, text)
    if match := _FALLEN.match(text):
        # Where there is an Xid line as well, it has counted.
        return Said(EventKind.XID, _address(match["pci"]), FALLEN_OFF, _one_line(text), times=0)
    return None


def _said(kind: EventKind, match: re.Match[str], text: str) -> Said:
    return Said(kind, _address(match["pci"]), int(match["code"]), _one_line(text))


def _place(spelled: str) -> Place:
    gpu, compute = _GPU_INSTANCE.search(spelled), _COMPUTE_INSTANCE.search(spelled)
    return Place(int(gpu[1]) if gpu else None, int(compute[1]) if compute else None)


def _address(spelled: str) -> str:
    """In sysfs's spelling: drivers leave out the function, and old ones the domain."""
    match = _ADDRESS.fullmatch(spelled)
    if match is None:
        return ""
    domain, bus, device = match.groups(default="0")
    return f"{int(domain, 16):04x}:{bus}:{device}.0".lower()


def _one_line(text: str) -> str:
    return " ".join(text.split())
