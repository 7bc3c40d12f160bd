"""Who a process is, by what /proc says of it. A process is a pid and its start: pids are given out again."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fallow_agent.holders import Occupant, occupant_of
from fallow_proto.cgroup import path_of

_PROC = Path("/proc")
_START = 19  # field 22 of /proc/PID/stat, counted from the state, which follows the name (proc_pid_stat(5))
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Who(NamedTuple):
    """started_s: on the boot clock. cgroup: the path that says most, "" where it cannot be read."""

    started_s: float
    uid: int
    cgroup: str
    occupant: Occupant


def started_s(pid: int, proc: Path = _PROC) -> float | None:
    """When it began, in seconds on the boot clock; None when it is gone or hidden."""
    try:
        fields = (proc / f"{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[_START]) / _TICKS_PER_S
    except (OSError, ValueError, IndexError):
        return None


def who_is(pid: int, users: Mapping[int, str], proc: Path = _PROC) -> Who | None:
    """None when it is gone or hidden, or ended while it was looked at."""
    started, occupant = started_s(pid, proc), occupant_of(pid, {}, proc)
    if started is None or occupant is None:
        return None
    cgroup = _cgroup(pid, proc)
    if started_s(pid, proc) != started:
        return None  # what was read may be of another process under the same pid
    uid = int(occupant.user)
    return Who(started, uid, cgroup, occupant._replace(user=users.get(uid, occupant.user)))


def _cgroup(pid: int, proc: Path) -> str:
    try:
        return path_of((proc / f"{pid}/cgroup").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
