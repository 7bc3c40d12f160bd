"""What a Hello may say: the limits that keep one broken or hostile agent from hurting the fleet.

Words that name something must be right, or the stream is refused; words that only describe are cleaned, so that an odd
model name does not cost a node.
"""

import math
from collections.abc import Sequence

from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb

OLDEST_WIRE = 1
"""The oldest version of the wire contract that is still understood; newer ones only add what we ignore."""

NODE_LENGTH = 253  # the longest DNS name
UUID_LENGTH = 384  # a vendor's own has about 40 characters; one made of node and PCI address as many as the node's name
EPOCH_LENGTH = 64
LABEL_LENGTH = 256
MESSAGE_LENGTH = 1024
DEVICES = 256  # 16 boards of 7 partitions, and the host, are 129
READERS = 32
WORDS = 256  # unsupported metrics, conditions: the metric table has 36 names
EPOCHS = 1024  # runs of the agent in 72 hours of spool
RANGES = 16_384
INTERVAL_S = (0.05, 60.0)
SEQ_MAX = 2**53  # what a double still counts, so that no store or script rounds it
FENCES = 4096  # of one node: it never forgets a device's token, and boards are exchanged


def complaint(hello: pb.Hello) -> str:
    """Why this Hello cannot be accepted, naming what was found and what is expected; empty when it can."""
    if hello.wire < OLDEST_WIRE:
        return f"wire version {hello.wire}, expected {OLDEST_WIRE} or newer: upgrade the agent"
    if fault := name_fault(hello.node, NODE_LENGTH):
        return f"node {fault}"
    if fault := name_fault(hello.site, NODE_LENGTH):
        return f"site {fault}"
    if fault := name_fault(hello.epoch, EPOCH_LENGTH):
        return f"epoch {fault}"
    if not (math.isfinite(hello.interval_s) and INTERVAL_S[0] <= hello.interval_s <= INTERVAL_S[1]):
        return f"interval_s is {hello.interval_s}, expected {INTERVAL_S[0]} to {INTERVAL_S[1]}"
    if len(hello.readers) > READERS:
        return f"{len(hello.readers)} readers, expected no more than {READERS}"
    if fault := fences_fault(hello.fences):
        return fault
    return _devices_fault(hello) or _spooled_fault(hello)


def fences_fault(fences: Sequence[pb.DeviceFence]) -> str:
    """Why these cannot be what a node keeps, "" when they can."""
    if len(fences) > FENCES:
        return f"{len(fences)} fences, expected no more than {FENCES}"
    for fence in fences:
        if fault := name_fault(fence.device, UUID_LENGTH):
            return f"device of a fence {fault}"
        if not 0 < fence.token < SEQ_MAX:
            return f"token {fence.token} of device {fence.device}, expected 1 to below 2^53"
    return ""


def clean_fences(fences: Sequence[pb.DeviceFence]) -> int:
    """As `clean`."""
    return sum(
        _clean_field(fence, word, LABEL_LENGTH) for fence in fences for word in ("lease_id", "holder")
    )


def clean(hello: pb.Hello) -> int:
    """Cut and clean, in place, the words that only describe; returns how many had to be changed."""
    changed = 0
    for word in ("agent_version", "boot_id", "rack"):
        changed += _clean_field(hello, word, LABEL_LENGTH)
    changed += clean_fences(hello.fences)
    for reader in hello.readers:
        changed += _clean_field(reader, "name", LABEL_LENGTH)
        changed += _clean_field(reader, "state", LABEL_LENGTH)
        changed += _clean_field(reader, "message", MESSAGE_LENGTH)
    for device in hello.devices:
        for word in _DESCRIPTIONS:
            changed += _clean_field(device, word, LABEL_LENGTH)
        for position, word in enumerate(device.unsupported):
            device.unsupported[position] = cleaned(word, LABEL_LENGTH)
        for position, word in enumerate(device.conditions):
            device.conditions[position] = cleaned(word, LABEL_LENGTH)
    return changed


def cleaned(text: str, length: int) -> str:
    """Without control characters (a newline would forge a line of a log or of line protocol), and cut to length."""
    if text.isprintable():
        return text[:length]
    return "".join(character if character.isprintable() else " " for character in text[:length]).strip()


def name_fault(name: str, length: int) -> str:
    """Why this cannot name something, "" when it can."""
    if not name:
        return "is empty, expected a name"
    if len(name) > length:
        return f"{name[:40]!r}… has {len(name)} characters, expected no more than {length}"
    if not name.isprintable() or " " in name:
        return f"{name!r} holds a space or a control character, expected printable characters only"
    if name.endswith("\\"):
        return f"{name!r} ends in a backslash, which line protocol cannot say, expected another last character"
    return ""


_DESCRIPTIONS = (
    "vendor", "model", "device_class", "pci_bus_id", "partition_profile", "serial", "driver_version", "reader", "mode",
    "link_domain",
)


def _clean_field(message: pb.Hello | pb.Device | pb.Reader | pb.DeviceFence, name: str, length: int) -> int:
    before = getattr(message, name)
    after = cleaned(before, length)
    if after == before:
        return 0
    setattr(message, name, after)
    return 1


def _devices_fault(hello: pb.Hello) -> str:
    if len(hello.devices) > DEVICES:
        return f"{len(hello.devices)} devices, expected no more than {DEVICES}"
    uuids = set()
    for device in hello.devices:
        if fault := name_fault(device.uuid, UUID_LENGTH):
            return f"uuid of device {device.index} of reader {device.reader!r} {fault}"
        if device.uuid in uuids:
            return f"uuid {device.uuid} is named twice, expected one device each"
        uuids.add(device.uuid)
        if device.parent and (fault := name_fault(device.parent, UUID_LENGTH)):
            return f"parent of device {device.uuid} {fault}"
        if max(len(device.unsupported), len(device.conditions)) > WORDS:
            return (
                f"device {device.uuid} has {len(device.unsupported)} unsupported metrics and "
                f"{len(device.conditions)} conditions, expected no more than {WORDS}"
            )
    return ""


def _spooled_fault(hello: pb.Hello) -> str:
    if len(hello.spooled) > EPOCHS:
        return f"{len(hello.spooled)} epochs in the spool, expected no more than {EPOCHS}"
    if (ranges := sum(len(epoch.ranges) for epoch in hello.spooled)) > RANGES:
        return f"{ranges} ranges in the spool, expected no more than {RANGES}"
    for spooled in hello.spooled:
        if fault := name_fault(spooled.epoch, EPOCH_LENGTH):
            return f"epoch in the spool {fault}"
        try:
            RangeSet((each.lo, each.hi) for each in spooled.ranges)
        except ValueError as error:
            return f"spool of epoch {spooled.epoch}: {error}"
    return ""
