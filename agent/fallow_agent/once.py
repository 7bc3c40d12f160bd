"""`fallow-agent --once`: what the readers see now, without a collector and beside a running agent."""

import contextlib
import os
import select
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fallow_agent import quiesce
from fallow_agent.config import Settings
from fallow_agent.errors import QuiesceError
from fallow_agent.readers.child import Answer, ReaderChild, Zygote
from fallow_agent.readers.lifecycle import Limits
from fallow_agent.readers.messages import Opened, Read
from fallow_agent.readers.reader import DeviceIdentity
from fallow_agent.readers.registry import VENDORS
from fallow_agent.readers.status import State, Status
from fallow_agent.sampling import boot_clock
from fallow_proto.metrics import NAMES, Group
from fallow_proto.v1 import telemetry_pb2 as pb

BETWEEN_S = 1.0
"""Rates need two readings."""
OPEN_S = 30.0
PATIENCE_S = 10.0
"""For a reader that does not answer, or whose lock another `--once` holds at this moment."""
_UNKNOWN = "–"


@dataclass(slots=True)
class Seen:
    """What one reader said."""

    name: str
    status: Status
    devices: tuple[DeviceIdentity, ...] = ()
    columns: set[str] = field(default_factory=set)
    values: dict[str, dict[str, float]] = field(default_factory=dict)  # by uuid
    reasons: dict[str, pb.Reason.ValueType] = field(default_factory=dict)  # by uuid, of the last reading


def look(settings: Settings) -> list[Seen]:
    """Open every configured reader, read twice, close. Takes two seconds, or as long as the slowest reader may."""
    configured = Path(settings.readers.run_dir)
    left = [seen for name in settings.reader_names if (seen := _stuck(name, configured) or _quiesced(name, configured))]
    with _own_run_dir(configured) as run_dir:
        zygote = Zygote()
        limits = Limits(answer=settings.readers.deadline_s, open=OPEN_S, held_retry=0.5)
        now = time.monotonic()
        looks = [
            _Look(ReaderChild(name, zygote, run_dir, now, limits=limits), now)
            for name in settings.reader_names
            if name not in {seen.name for seen in left}
        ]
        try:
            while not all(each.done for each in looks):
                for each in looks:
                    each.step(time.monotonic())
                select.select([each.child for each in looks], [], [], 0.05)
            _stop([each.child for each in looks])
        finally:
            zygote.close()
        return left + [each.seen for each in looks]


class _Look:
    """One reader's way through: opened, read, read again."""

    def __init__(self, child: ReaderChild, now: float) -> None:
        self.child = child
        self.seen = Seen(child.name, child.status)
        self.done = False
        self._readings = 0
        self._ask_at = 0.0
        self._give_up = now + PATIENCE_S

    def step(self, now: float) -> None:
        for answer in self.child.tick(now):
            self._take(answer, now)
        if self.child.settled and self.child.status.state is not State.OK:
            self.done = self.child.status.state is not State.STUCK or now >= self._give_up
        if not self.done and self.child.free and now >= self._ask_at:
            self._ask_at = now + BETWEEN_S
            self.child.ask(tuple(Group), now)

    def _take(self, answer: Answer, now: float) -> None:
        match answer:
            case Opened(devices, columns):
                self.seen.devices = devices
                self.seen.columns = {name for names in columns.values() for name in names}
            case Read(readings):
                self._readings += 1
                self.done = self._readings == 2
                for group, each in readings.items():
                    for reading in each:
                        self.seen.values.setdefault(reading.uuid, {}).update(reading.values)
                        if group is Group.FAST:
                            self.seen.reasons[reading.uuid] = reading.reason
        self.seen.status = self.child.status


def _stop(children: list[ReaderChild]) -> None:
    give_up = time.monotonic() + 3.0
    for child in children:
        child.stop(time.monotonic())
    while not all(child.over for child in children) and time.monotonic() < give_up:
        for child in children:
            child.tick(time.monotonic())
        select.select(children, [], [], 0.02)
    for child in children:
        child.close()


@contextmanager
def _own_run_dir(configured: Path) -> Iterator[Path]:
    """A place for locks that a running agent does not hold."""
    own = configured / "once"
    with contextlib.suppress(OSError):
        own.mkdir(parents=True, exist_ok=True)
    if not os.access(own, os.W_OK | os.X_OK):  # not there, or another user's
        with tempfile.TemporaryDirectory(prefix="fallow-once-") as made:
            yield Path(made)
    else:
        yield own


def _stuck(name: str, run_dir: Path) -> Seen | None:
    """The reader of an agent, if it waits in the kernel for its driver: then nobody else must call that driver."""
    try:
        pid = int((run_dir / f"reader-{name}.lock").read_text(encoding="ascii"))
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2][:1]
    except (OSError, ValueError):
        return None
    if state != "D":
        return None
    message = f"process {pid} of an agent waits in the kernel for its driver, which is not touched again"
    return Seen(name, Status(name, State.STUCK, 0.0, message, pb.REASON_STUCK))


def as_json(settings: Settings, seen: list[Seen]) -> dict[str, Any]:
    """Devices by the words of the API, every metric by its name in base units, null where not known."""
    return {
        "site": settings.site,
        "node": settings.node_name,
        "readers": [
            {"name": each.name, "state": str(each.status.state), "message": each.status.message} for each in seen
        ],
        "devices": [
            {
                "uuid": device.uuid,
                "reader": each.name,
                "vendor": device.vendor,
                "model": device.model,
                "class": device.device_class,
                "index": device.index,
                "minor": device.minor,
                "pci_bus_id": device.pci_bus_id or None,
                "parent": device.parent or None,
                "driver_version": device.driver_version or None,
                "conditions": list(device.conditions),
                "unsupported": sorted(device.unsupported),
                "reason": _reason(each, device.uuid),
                **{name: each.values.get(device.uuid, {}).get(name) for name in NAMES if name in each.columns},
            }
            for each in seen
            for device in each.devices
        ],
    }


def as_text(seen: list[Seen]) -> str:
    """One table of devices, and below it how each reader does."""
    rows = [("READER", "INDEX", "MODEL", "UTIL", "MEMORY", "POWER", "TEMP", "PROCS", "UUID")]
    for each in seen:
        for device in each.devices:
            values = each.values.get(device.uuid, {})
            rows.append((
                each.name,
                str(device.index),
                device.model or _UNKNOWN,
                _shown(values, "utilization_ratio", "{:.0f} %", 100),
                _memory(values),
                _shown(values, "power_watts", "{:.0f} W"),
                _shown(values, "temperature_celsius", "{:.0f} °C"),
                _shown(values, "processes", "{:.0f}"),
                device.uuid,
            ))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    states = [
        f"reader {each.name}: {each.status.state}" + (f", {each.status.message}" if each.status.message else "")
        for each in seen
    ]
    failed = [
        f"device {uuid}: {_reason(each, uuid)}"
        for each in seen
        for uuid, reason in each.reasons.items()
        if reason != pb.REASON_OK
    ]
    return "\n".join([*(lines if len(rows) > 1 else ["no devices"]), "", *states, *failed])


def _reason(seen: Seen, uuid: str) -> str:
    reason = seen.reasons.get(uuid, seen.status.reason)
    return pb.Reason.Name(reason).removeprefix("REASON_").lower()


def _memory(values: Mapping[str, float]) -> str:
    usage = _shown(values, "memory_usage_bytes", "{:.1f}", 2.0**-30)
    limit = _shown(values, "memory_limit_bytes", "{:.1f}", 2.0**-30)
    return f"{usage} / {limit} GiB"


def _shown(values: Mapping[str, float], name: str, form: str, scale: float = 1.0) -> str:
    value = values.get(name)
    return _UNKNOWN if value is None else form.format(value * scale)


def _quiesced(name: str, run_dir: Path) -> Seen | None:
    """The reader of an agent that was told to let go of its devices: then nobody else opens them either."""
    try:
        order = quiesce.read(run_dir / quiesce.ORDER, quiesce.Order) if name in VENDORS else None
    except QuiesceError:
        return None
    left_s = None if order is None else quiesce.left_s(order, quiesce.boot_id(), boot_clock())
    if order is None or left_s is None:
        return None
    message = f"for {left_s:.0f} s more, as {order.by} asked; `fallow-agent resume` ends it"
    return Seen(name, Status(name, State.QUIESCED, 0.0, message, pb.REASON_QUIESCED))
