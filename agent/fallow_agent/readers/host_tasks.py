"""Processes that wait in the kernel and cannot be woken (state D), and have for minutes.

Source: /proc/PID/stat (proc(5)), which never waits for the process it is about, as cmdline and maps do. What a process
waits for is for root alone to see (/proc/PID/wchan), so one that hangs on a dead NFS server is counted like any other;
the server itself is seen by host_mounts.py. Threads beside the first of a process are not looked at: there are tens of
thousands.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

LONG_S = 300.0
"""gpud waits for five checks a minute apart."""
_OF_DRIVERS = ("nvidia",)
"""How drivers' own tools and threads begin their names: gpud's rule for a driver that hangs."""


class Task(NamedTuple):
    """started, used: clock ticks since boot, and of CPU time. As long as all of it stays, the task did not run."""

    pid: int
    name: str
    started: int
    used: int


class Blocked(NamedTuple):
    tasks: int
    of_drivers: int


def waiting(proc: Path) -> list[Task] | None:
    """Processes in state D at this moment; None when those of others are hidden (hidepid) and it cannot be told."""
    try:
        pids = [name for name in os.listdir(proc) if name.isdigit()]  # noqa: PTH208  # thousands
    except OSError:
        return None
    if "1" not in pids:
        return None
    tasks = []
    for pid in pids:
        try:
            stat = os.open(f"{proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # it just ended
            continue
        try:
            task = _waiting(os.read(stat, 4_096))
        except OSError:
            continue
        finally:
            os.close(stat)
        if task is not None:
            tasks.append(task)
    return tasks


class TaskWatch:
    """Times are seconds on one clock that never goes back."""

    def __init__(self) -> None:
        self._since: dict[Task, float] = {}
        self._began: float | None = None

    def take(self, tasks: Iterable[Task], now: float) -> Blocked | None:
        """Those that have waited for LONG_S; None as long as one may have waited since before this began to watch."""
        began = self._began = now if self._began is None else self._began
        self._since = {task: self._since.get(task, now) for task in tasks}
        if now - began < LONG_S and began in self._since.values():
            return None
        long = [task for task, since in self._since.items() if now - since >= LONG_S]
        return Blocked(len(long), sum(task.name.startswith(_OF_DRIVERS) for task in long))


def _waiting(stat: bytes) -> Task | None:
    """None for a process in another state. A name may hold anything, brackets and spaces too."""
    head, _, tail = stat.rpartition(b")")
    if not tail.startswith(b" D "):
        return None
    pid, _, name = head.partition(b" (")
    fields = tail.split()
    try:
        return Task(int(pid), name.decode(errors="replace"), int(fields[19]), int(fields[11]) + int(fields[12]))
    except (ValueError, IndexError):
        return None
