"""Processes that are on a device and hold nothing: display servers, driver daemons, whatever the collector names.

In doubt a process holds its device: one that cannot be looked up, whose memory is not known, or that no rule names.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fallow_agent.readers.messages import Read
from fallow_agent.readers.reader import Process, Reading
from fallow_proto.metrics import Group
from fallow_proto.v1 import telemetry_pb2 as pb

_SHORT_NAME = 15  # the kernel keeps no more of a process's name


class Occupant(NamedTuple):
    """Who a process is; `whole` is False when the kernel may have cut the command's name."""

    command: str
    user: str
    whole: bool = True


Resolve = Callable[[int], Occupant | None]


def holds_nothing(holder: pb.Holder, occupant: Occupant, memory_bytes: float | None) -> bool:
    """Whether a rule matches. A rule without a single condition would exempt every job, and matches none."""
    if not (holder.command or holder.user or holder.max_memory_bytes):
        return False
    command = holder.command if occupant.whole else holder.command[:_SHORT_NAME]
    if holder.command and command != occupant.command:
        return False
    if holder.user and holder.user != occupant.user:
        return False
    return not holder.max_memory_bytes or (memory_bytes is not None and memory_bytes <= holder.max_memory_bytes)


def with_exempt(read: Read, holders: Sequence[pb.Holder], resolve: Resolve) -> Read:
    """The same readings with `processes_exempt` wherever `processes` is known."""
    return Read({
        group: tuple(_counted(reading, holders, resolve) for reading in readings) if group is Group.FAST else readings
        for group, readings in read.readings.items()
    })


def _counted(reading: Reading, holders: Sequence[pb.Holder], resolve: Resolve) -> Reading:
    if "processes" not in reading.values:
        return reading
    exempt = sum(_is_exempt(process, holders, resolve) for process in reading.processes) if holders else 0
    return replace(reading, values={**reading.values, "processes_exempt": float(exempt)})


def _is_exempt(process: Process, holders: Sequence[pb.Holder], resolve: Resolve) -> bool:
    occupant = resolve(process.pid)
    return occupant is not None and any(holds_nothing(holder, occupant, process.memory_bytes) for holder in holders)


def local_users(passwd: Path = Path("/etc/passwd")) -> dict[int, str]:
    """Users of this machine by number. A directory service is not asked: it may hang, and daemons are local users."""
    users: dict[int, str] = {}
    try:
        lines = passwd.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return users
    for line in lines:
        name, *fields = line.split(":")
        if len(fields) > 1 and fields[1].isdigit():
            users.setdefault(int(fields[1]), name)
    return users


def occupant_of(pid: int, users: Mapping[int, str], proc: Path = Path("/proc")) -> Occupant | None:
    """Who a process is; None when it is gone or hidden. A user without a name is its number.

    The owner of /proc/PID is not asked: it is root for every process that made itself undumpable.
    """
    try:
        status = (proc / f"{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    effective = facts.get("Uid", "").split()[1:2]
    if not effective or not effective[0].isdigit():
        return None
    user = users.get(int(effective[0]), effective[0])
    try:
        executable = os.readlink(proc / f"{pid}/exe")  # noqa: PTH115  # a link whose target may be gone is a name
    except OSError:  # another user's process: its short name has to do
        name = facts.get("Name", "")
        return Occupant(name, user, whole=len(name) < _SHORT_NAME)
    return Occupant(os.path.basename(executable.removesuffix(" (deleted)")), user)  # noqa: PTH119  # text
