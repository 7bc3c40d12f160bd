"""What the processes on a device do on the host: the agent's own column beside what the driver says.

A job that prepares data or writes a checkpoint computes nothing on its device for minutes and is no waste; its CPU time
tells it from one that was forgotten.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fallow_agent.readers.host_cpu import process_seconds
from fallow_agent.readers.messages import Read
from fallow_agent.readers.reader import Reading
from fallow_proto.metrics import Group

COLUMN = "processes_cpu_seconds_total"

CpuSeconds = Callable[[int], float | None]
"""CPU time of a process with all its threads; None when it is gone or hidden."""


def with_cpu_seconds(read: Read, seconds_of: CpuSeconds) -> Read:
    """The same readings, and with those of the medium group the CPU time of the processes of the fast one."""
    if Group.MEDIUM not in read.readings:
        return read
    seconds = {
        reading.uuid: total
        for reading in read.readings.get(Group.FAST, ())
        if (total := _seconds(reading, seconds_of)) is not None
    }
    medium = {reading.uuid: reading for reading in read.readings[Group.MEDIUM]}
    for uuid, total in seconds.items():
        reading = medium.get(uuid, Reading(uuid))
        medium[uuid] = replace(reading, values={**reading.values, COLUMN: total})
    return Read({**read.readings, Group.MEDIUM: tuple(medium.values())})


def from_proc(proc: Path = Path("/proc")) -> CpuSeconds:
    """Reads /proc/PID/stat, which tells of every user's processes."""
    ticks = os.sysconf("SC_CLK_TCK")
    return lambda pid: process_seconds(proc / f"{pid}/stat", ticks)


def _seconds(reading: Reading, seconds_of: CpuSeconds) -> float | None:
    """Not known unless every process that the driver counts was named and found."""
    if reading.values.get("processes") != len(reading.processes):
        return None
    total = 0.0
    for process in reading.processes:
        seconds = seconds_of(process.pid)
        if seconds is None:
            return None
        total += seconds
    return total
