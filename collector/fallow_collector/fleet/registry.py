"""Who is in the fleet: devices and nodes by name, and what they said of themselves."""

from dataclasses import dataclass, field
from math import inf, nan

import msgspec

from fallow_proto.states import NEVER_READ
from fallow_proto.v1 import telemetry_pb2 as pb


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change while a device's driver stays; empty strings: not known."""

    uuid: str
    vendor: str = ""
    model: str = ""
    device_class: str = ""
    index: int | None = None
    minor: int | None = None
    pci_bus_id: str = ""
    parent: str = ""
    partition_profile: str = ""
    serial: str = ""
    driver_version: str = ""
    unsupported: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    mode: str = ""
    link_domain: str = ""

    @property
    def judged_under(self) -> str:
        """What a baseline and a confirmation window hold under; a change of it starts both anew."""
        return "|".join((self.vendor, self.model, self.driver_version, self.mode))

    @property
    def is_unread(self) -> bool:
        """Whether nothing is known of it but that it is there."""
        return not NEVER_READ.isdisjoint(self.conditions)


def identity_of(device: pb.Device) -> Identity:
    return Identity(
        uuid=device.uuid,
        vendor=device.vendor,
        model=device.model,
        device_class=device.device_class,
        index=device.index,
        minor=device.minor if device.HasField("minor") else None,
        pci_bus_id=device.pci_bus_id,
        parent=device.parent,
        partition_profile=device.partition_profile,
        serial=device.serial,
        driver_version=device.driver_version,
        unsupported=tuple(device.unsupported),
        conditions=tuple(device.conditions),
        mode=device.mode,
        link_domain=device.link_domain,
    )


@dataclass(slots=True)
class ReaderState:
    name: str
    state: str
    since_ms: int
    message: str


@dataclass(slots=True)
class Node:
    number: int
    name: str
    site: str = ""
    rack: str = ""
    agent_version: str = ""
    epoch: str = ""
    interval_s: float = 1.0
    connected: bool = False
    readers: list[ReaderState] = field(default_factory=list)
    spool_pending: int | None = None
    spool_dropped: int | None = None  # reports, since its agent started; None: an older agent, that does not say
    # judgement
    judged_seq: int = 0
    judged_ms: int = 0
    rows: list[int] = field(default_factory=list)  # of its last Hello
    claims: list[Identity] = field(default_factory=list)  # of its last Hello, and another node has them
    heard_at: float = -inf  # its last Hello or report, monotonic seconds
    # The least of (receipt − stamp) in this epoch: what a report without delay shows. Seconds.
    offset: float | None = None
    offset_at: float = 0.0

    def ahead_s(self, now: float, wall: float) -> float:
        """By how many seconds its wall clock is ahead of ours, less the quickest transit; NaN: not known yet. now:
        monotonic; wall: unix seconds."""
        return nan if self.offset is None else now - self.offset - wall

    @property
    def unusable_readers(self) -> int:
        return sum(reader.state in ("failed", "stuck") for reader in self.readers)


class Seen(msgspec.Struct, frozen=True):
    """A device as it is kept over restarts of the collector."""

    identity: Identity
    node: str
    site: str
    present: bool
    declared: bool
    declared_class: str = ""
