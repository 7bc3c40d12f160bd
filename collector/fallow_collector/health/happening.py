"""One event as health sees it: what it is, how bad, and what to do about it, before anything around it is known."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fallow_collector.health import nvlink4, nvlink5
from fallow_collector.health.catalogue import Entry, find
from fallow_collector.health.meaning import Meaning
from fallow_collector.health.words import Action, Role, Severity
from fallow_collector.state import EventRow
from fallow_proto.states import EventKind

JOBS_KEPT = 8
"""Distinct jobs that one happening remembers; three are enough to speak of hardware."""

FALLEN_OFF = 79
"""What the driver's "GPU has fallen off the bus" without a number means."""

_RECOVERY: Mapping[str, tuple[Severity, Action]] = MappingProxyType({
    "none": (Severity.INFO, Action.NONE),
    "drain p2p": (Severity.DEGRADED, Action.RESET_DEVICE),
    "drain and reset": (Severity.FAILED, Action.RESET_DEVICE),
    "gpu reset required": (Severity.FAILED, Action.RESET_DEVICE),
    "node reboot required": (Severity.FAILED, Action.RESTART_NODE),
})

_NVML: Mapping[int, Meaning] = MappingProxyType({
    0x2: Meaning("double-bit ECC error", Severity.FAILED, Action.RESET_DEVICE, Role.FAULT),
    0x200: Meaning("storm of single-bit ECC errors", Severity.INFO, Action.NONE, Role.FAULT),
    0x400: Meaning("memory retirement", Severity.INFO, Action.NONE, Role.FAULT),
    0x800: Meaning("memory retirement failure", Severity.FAILED, Action.RESET_DEVICE, Role.FAULT),
    0x1000: Meaning("poison, not fatal", Severity.DEGRADED, Action.RESTART_APP, Role.FAULT),
    0x2000: Meaning("poison, fatal", Severity.FAILED, Action.RESET_DEVICE, Role.FAULT),
    0x4000: Meaning("GPU unavailable", Severity.FAILED, Action.RESET_DEVICE, Role.FAULT),
    0x8000: Meaning("recovery action changed", Severity.DEGRADED, Action.NONE, Role.RECOVERY),
})
"""nvml.h, nvmlEventType*; severities as those of the Xids 48, 92, 63, 64, 94 and 95, and of a required reset."""

_OF_HOST: Mapping[str, Meaning] = MappingProxyType({
    EventKind.PORT_DOWN: Meaning("port down", Severity.INFO, Action.INSPECT_HARDWARE, Role.FAULT),
    EventKind.OOM_KILL: Meaning("memory ran out", Severity.INFO, Action.RESTART_APP, Role.FAULT),
    EventKind.FILESYSTEM_READ_ONLY: Meaning(
        "file system became read-only", Severity.DEGRADED, Action.INSPECT_HARDWARE, Role.FAULT
    ),
})
"""As the rules of the columns rdma_ports_down, oom_kills_total and var_read_only have it."""

_RECOVERY_TEXT = re.compile(r"changed from .* to (?:0x[0-9a-f]+ )?\(([^)]*)\)", re.IGNORECASE)
_JOB = re.compile(r"pid=(?:'?)(\d+)(?:'?)(?:, name=([^,]*))?")
_FATAL = re.compile(r"\bfatal\b", re.IGNORECASE)
_NOT_FATAL = re.compile(r"\bnon-?fatal\b", re.IGNORECASE)


@dataclass(slots=True)
class Happening:
    """A run of like events of one subject, without a silence that would end a burst. Times are unix milliseconds."""

    event: str  # of the first: node, epoch and id
    epoch: str
    kind: str
    code: int | None
    meaning: Meaning
    first_ms: int
    last_ms: int
    count: int
    message: str  # the newest
    source: str  # who said so
    jobs: set[str] = field(default_factory=set)


def happening(row: EventRow, model: str = "") -> Happening | None:
    """None: an event that says nothing of health. model: of the device, empty where it is not known."""
    meaning = _meaning(row, model)
    if meaning is None:
        return None
    return Happening(
        f"{row.node}/{row.epoch}/{row.id}", row.epoch, row.kind, row.code, meaning, row.first_ms, row.last_ms, row.many,
        row.message, row.source, jobs(row.message),
    )


def jobs(message: str) -> set[str]:
    """The process that the driver blames, if it names one."""
    found = _JOB.search(message)
    return {f"{found[1]} {found[2] or ''}".strip()} if found else set()


def _meaning(row: EventRow, model: str) -> Meaning | None:
    match row.kind:
        case EventKind.XID:
            return _of_xid(row.code, row.message, model)
        case EventKind.SXID:
            return _of_sxid(row.code, row.message)
        case EventKind.KERNEL_MESSAGE if "fallen off the bus" in row.message:
            return _of_xid(FALLEN_OFF, row.message, model)
        case EventKind.KERNEL_MESSAGE:
            return Meaning("kernel message", Severity.INFO, Action.NONE, Role.FAULT)
        case EventKind.DEVICE_FAULT if row.source == "nvml" and row.code is not None and row.code in _NVML:
            return _NVML[row.code]
        case EventKind.DEVICE_FAULT:
            code = "without a code" if row.code is None else f"{row.code:#x}"
            return Meaning(f"device fault {code}", Severity.DEGRADED, Action.NONE, Role.FAULT)
        case EventKind.DEVICE_VANISHED:
            return Meaning("device vanished", Severity.FAILED, Action.RESTART_NODE, Role.FAULT)
        case EventKind.DEVICE_CONTESTED:
            return Meaning("names devices that another node has", Severity.DEGRADED, Action.NONE, Role.FAULT)
        case EventKind.READER_STUCK:
            return Meaning("reader stuck in its driver", Severity.DEGRADED, Action.RESTART_NODE, Role.FAULT)
        case _:
            return _OF_HOST.get(row.kind)


def _of_xid(code: int | None, message: str, model: str) -> Meaning:
    entry = None if code is None else find(EventKind.XID, code)
    if entry is None:
        return _unknown("Xid", code)
    own = Meaning(
        f"Xid {entry.code}: {entry.name}", entry.severity, entry.action, entry.role, cancels=entry.cancels
    )
    match entry.role:
        case Role.RECOVERY:
            severity, action = _recovery(entry, message)
            return own._replace(severity=severity, action=action)
        case Role.LINK:
            return _link(own, entry, message)
        case Role.REGISTERS:
            return _registers(own, message, model)
    return own


def _of_sxid(code: int | None, message: str) -> Meaning:
    """The driver's own "Fatal" or "Non-fatal" outweighs the table."""
    entry = None if code is None else find(EventKind.SXID, code)
    what = f"SXid {code}: {entry.name}".removesuffix(": ") if entry else ""
    if _NOT_FATAL.search(message):
        return Meaning(what or f"SXid {code}", Severity.DEGRADED, Action.NONE, Role.FAULT)
    if _FATAL.search(message):
        return Meaning(what or f"SXid {code}", Severity.FAILED, Action.RESTART_NODE, Role.FAULT)
    return _unknown("SXid", code) if entry is None else Meaning(what, entry.severity, entry.action, Role.FAULT)


def _recovery(entry: Entry, message: str) -> tuple[Severity, Action]:
    """What the driver asks for; NVML tells the number without the text, and the metric recovery_action says the rest.

    An action that nobody knows yet is one all the same.
    """
    found = _RECOVERY_TEXT.search(message)
    if found is None:
        return entry.severity, entry.action
    return _RECOVERY.get(found[1].strip().lower(), (Severity.FAILED, Action.CONTACT_VENDOR))


def _link(own: Meaning, entry: Entry, message: str) -> Meaning:
    """NVLink 5: what the catalogue says of the line; else fatal costs a reset, and bit error rates are ignored."""
    found = nvlink5.decode(entry.code, message)
    if found is not None:
        row = found.row
        what = f"{own.what}: {found.unit} on link {found.link}, NVIDIA: {row.resolution}, {row.investigatory}"
        return own._replace(what=what, severity=row.severity, action=row.action)
    if "BER" in message:
        return own._replace(severity=Severity.INFO, action=Action.NONE)
    if _NOT_FATAL.search(message) or not _FATAL.search(message):
        return own
    return own._replace(severity=Severity.FAILED, action=Action.RESET_DEVICE)


def _registers(own: Meaning, message: str, model: str) -> Meaning:
    """NVLink before 5: the worst of the bits that are set, else what the code says by itself."""
    found = nvlink4.decode(model, message)
    if found is None:
        return own
    bit = found.bit
    return Meaning(
        f"{own.what} on link {found.link}: {bit.meaning}", bit.severity, bit.action, bit.role, again=bit.again
    )


def _unknown(name: str, code: int | None) -> Meaning:
    number = "without a number" if code is None else str(code)
    return Meaning(f"{name} {number}, not in the catalogue", Severity.DEGRADED, Action.NONE, Role.FAULT)
