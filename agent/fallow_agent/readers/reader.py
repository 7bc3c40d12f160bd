"""What a reader is: the code of one vendor, and nothing but that.

A reader runs in a child process of its own (child.py), so it may block, crash or leak without harm. It holds no
clock, no cache across calls beyond handles, and judges nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from fallow_agent.happening import Happening
from fallow_agent.readers.attribution import NOWHERE, Place
from fallow_proto.metrics import Group
from fallow_proto.v1.telemetry_pb2 import Reason


class ReaderError(Exception):
    """The vendor's library or driver as a whole cannot be used now; the message says why and what to do.

    reason: what that means for every device; unless told otherwise, that there is no driver which could answer.
    """

    def __init__(self, message: str, reason: Reason.ValueType = Reason.REASON_DRIVER) -> None:
        super().__init__(message)
        self.reason = reason


class ReaderAbsent(ReaderError):
    """There is nothing of this vendor on the node: no library, no devices. Not a fault."""


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """What does not change while the driver stays: the wire's Device without the reader's name."""

    uuid: str
    vendor: str
    model: str
    index: int
    device_class: str = "intelligent"
    minor: int | None = None
    pci_bus_id: str = ""
    parent: str = ""
    partition_profile: str = ""
    serial: str = ""
    driver_version: str = ""
    unsupported: frozenset[str] = frozenset()  # metrics that the vendor declares not to exist on this device
    conditions: tuple[str, ...] = ()
    mode: str = ""
    link_domain: str = ""
    place: Place = NOWHERE  # of a MIG instance on its board


class Process(NamedTuple):
    """One process on a device, so that the parent can tell whether it is exempt."""

    pid: int
    memory_bytes: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one device said at one moment: metrics by name in base units, absent where not known.

    `reason` is REASON_OK when the device answered, even if some metrics are absent.
    """

    uuid: str
    values: Mapping[str, float] = field(default_factory=dict)
    reason: Reason.ValueType = Reason.REASON_OK
    processes: Sequence[Process] = ()


class Reader(Protocol):
    name: str

    def open(self) -> Sequence[DeviceIdentity]:
        """Load the library and name the devices; again after close(). Raises ReaderError or ReaderAbsent."""

    def columns(self, group: Group) -> Sequence[str]:
        """Metrics that this reader may give in a group, in the order of the metric table."""

    def read(self, group: Group) -> Sequence[Reading]:
        """One reading a device, in the order of open(). Raises ReaderError when all devices are concerned."""

    def changed(self) -> bool:
        """Whether the devices may have changed, so that open() should be called again."""

    def close(self) -> None:
        """Let go of every handle."""


@runtime_checkable
class Listens(Protocol):
    """A reader that tells of what happened, beside what it is asked for."""

    def listen(self, tell: Callable[[Sequence[Happening]], None], leave: Callable[[str], None], /) -> None:
        """Call after open(). From then until close() `tell` is called with what happened, from any thread; and `leave`,
        with the reason, where the driver wants every handle back: close() then follows as soon as no read is under way.
        """
