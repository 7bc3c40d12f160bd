"""`fallow-agent --doctor`: what the agent would find on this node, step by step, and what to do about it."""

import ctypes
import os
import shutil
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import grpc

from fallow_agent import run_dir
from fallow_agent.config import AUTO, Settings, host_and_port
from fallow_agent.once import Seen, look
from fallow_agent.readers.kernel_log import KernelLog, Position
from fallow_agent.readers.status import State
from fallow_agent.uplink.certificate import complaint
from fallow_agent.uplink.channel import OPTIONS
from fallow_proto.v1 import telemetry_pb2 as pb

COLLECTOR_S = 5.0
_CLOCK_UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)
_BUILT = 1_760_000_000  # October 2025: no clock that is right says less


class Mark(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    mark: Mark
    subject: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        text = f"{self.mark:<5} {self.subject}: {self.found}"
        return f"{text}\n      {self.advice}" if self.advice else text


def examine(settings: Settings) -> Iterator[Finding]:
    """Each finding as soon as it is there."""
    for seen in look(settings):
        yield from _reader(seen, settings)
    yield _run_dir(Path(settings.readers.run_dir), os.environ.get("XDG_RUNTIME_DIR", ""))
    yield _kernel_log(settings.readers.kernel_log)
    yield _spool(Path(settings.spool.dir), settings.spool.max_mib)
    yield _clock(time.time(), _kernel_clock_state)
    yield _collector(settings)


def _reader(seen: Seen, settings: Settings) -> Iterator[Finding]:
    subject = f"reader {seen.name}"
    match seen.status.state:
        case State.ABSENT if AUTO in settings.readers.enabled:
            yield Finding(Mark.OK, subject, f"nothing of this vendor here ({seen.status.message})")
        case State.ABSENT:
            yield Finding(
                Mark.FAIL, subject, f"is asked for, and there is nothing for it: {seen.status.message}",
                f"install the vendor's driver, or take {seen.name} out of [readers] enabled",
            )
        case State.OK:
            versions = sorted({device.driver_version for device in seen.devices} - {""})
            driver = f", driver {', '.join(versions)}" if versions else ""
            yield Finding(Mark.OK, subject, f"works, devices: {len(seen.devices)}{driver}")
        case State.STUCK:
            yield Finding(
                Mark.FAIL, subject, seen.status.message,
                "the driver does not answer: look at the kernel's log; a reboot may be the only way out",
            )
        case State.QUIESCED:
            yield Finding(Mark.WARN, subject, f"has let go of its devices {seen.status.message}")
        case _:
            yield Finding(Mark.FAIL, subject, seen.status.message or "does not work")
    for device in seen.devices:
        yield from _device(seen, device.uuid, f"device {device.index} of {seen.name} ({device.model}, {device.uuid})")


def _device(seen: Seen, uuid: str, subject: str) -> Iterator[Finding]:
    match seen.reasons.get(uuid, pb.REASON_OK):
        case pb.REASON_OK:
            known = len(seen.values.get(uuid, {}))
            yield Finding(Mark.OK, subject, f"{known} metrics read")
        case pb.REASON_NOT_PERMITTED:
            yield Finding(
                Mark.FAIL, subject, "this user may not read it",
                "run as the service's user does: the unit's drop-ins name groups and devices",
            )
        case reason:
            yield Finding(Mark.FAIL, subject, pb.Reason.Name(reason).removeprefix("REASON_").lower().replace("_", " "))


def _run_dir(path: Path, own: str) -> Finding:
    if os.access(_nearest(path), os.W_OK):
        return Finding(Mark.OK, "[readers] run_dir", f"{path} can be written")
    if (instead := run_dir.chosen(str(path), own)) != path:
        return Finding(
            Mark.WARN, "[readers] run_dir",
            f"{path} is not there and cannot be made by user {os.geteuid()}, whose agent would use {instead}",
            "good enough to try Fallow; a service has the folder made by its unit (RuntimeDirectory=)",
        )
    return Finding(
        Mark.FAIL, "[readers] run_dir", f"{path} cannot be written by user {os.geteuid()}",
        "create it for this user, or set [readers] run_dir to another folder that outlives the agent",
    )


def _kernel_log(path: str) -> Finding:
    subject = "kernel log"
    log = KernelLog(path, Position(Path(os.devnull), ""))
    if not path:
        return Finding(Mark.OK, subject, f"not read: {log.problem}")
    if log.problem:
        return Finding(
            Mark.WARN, subject, f"{log.problem}; what a driver tells only there (an Xid before the start) is missed",
            "give the agent CAP_SYSLOG and /dev/kmsg, as the unit's drop-in kernel-log.conf does",
        )
    log.close()
    return Finding(Mark.OK, subject, f"{path} can be read")


def _spool(path: Path, max_mib: int) -> Finding:
    subject = "[spool] dir"
    nearest = _nearest(path)
    if not os.access(nearest, os.W_OK | os.X_OK) or not nearest.is_dir():
        return Finding(
            Mark.FAIL, subject, f"{path} cannot be written by user {os.geteuid()}: reports would wait in memory only",
            f"create it for this user (install -d -m 0700 -o fallow {path}), or set [spool] dir",
        )
    used = sum(file.stat().st_size for file in path.glob("spool.sqlite*")) if path.is_dir() else 0
    free_mib = (shutil.disk_usage(nearest).free + used) >> 20
    if free_mib < max_mib:
        return Finding(
            Mark.WARN, subject, f"{path} has room for {free_mib} MiB, and [spool] max_mib is {max_mib}",
            "make room, or lower max_mib: on a full disk reports wait in memory only",
        )
    return Finding(Mark.OK, subject, f"{path} can be written, {free_mib} MiB free for at most {max_mib}")


def _nearest(path: Path) -> Path:
    """The path, or the folder that it would be created in."""
    # Not Path.exists(), which raises where this user may not look.
    # Path.exists raises where one may not look.
    return next((folder for folder in (path, *path.parents) if os.path.exists(folder)), path)  # noqa: PTH110


def _clock(now: float, kernel_state: Callable[[], int]) -> Finding:
    if now < _BUILT:
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(now))
        return Finding(Mark.FAIL, "clock", f"says {when} UTC", "set it: the collector refuses reports of another time")
    if kernel_state() == _CLOCK_UNSYNCHRONISED:
        return Finding(
            Mark.WARN, "clock", "the kernel says that nothing synchronises it",
            "start chrony or systemd-timesyncd: a clock off by minutes has its reports refused",
        )
    return Finding(Mark.OK, "clock", "is synchronised")


def _kernel_clock_state() -> int:
    """What adjtimex(2) says of the clock, asked for nothing; -1 where it cannot be asked."""
    try:
        return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))
    except (OSError, AttributeError):
        return -1


def _collector(settings: Settings) -> Finding:
    """Connects and says nothing: a Hello would take the place of the running agent's stream."""
    subject = f"collector {settings.collector}"
    host, _ = host_and_port(settings.collector)
    how = "with TLS on both sides" if settings.has_tls else "without TLS"
    try:
        channel = _open(settings)
    except OSError as error:
        return Finding(Mark.FAIL, subject, f"[tls] {error.filename} cannot be read: {error.strerror}")
    try:
        grpc.channel_ready_future(channel).result(timeout=COLLECTOR_S)
    except grpc.FutureTimeoutError:
        own = complaint(settings.tls) if settings.has_tls else ""
        return Finding(
            Mark.FAIL, subject, f"no gRPC connection {how} within {COLLECTOR_S:.0f} s" + (f": {own}" if own else ""),
            f"check that the collector runs, that {host} is its name and in its certificate, and that no firewall "
            "is between; the agent keeps reports until then",
        )
    finally:
        channel.close()
    return Finding(Mark.OK, subject, f"answers {how}")


def _open(settings: Settings) -> grpc.Channel:
    if not settings.has_tls:
        return grpc.insecure_channel(settings.collector, OPTIONS)
    tls = settings.tls
    ca, key, cert = (Path(path).read_bytes() for path in (tls.ca, tls.key, tls.cert))
    return grpc.secure_channel(settings.collector, grpc.ssl_channel_credentials(ca, key, cert), OPTIONS)
