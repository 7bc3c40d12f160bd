"""How busy a host's CPUs are: between two readings of the kernel's counters, the agent's own work left out."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

IDLE = ("idle", "iowait")  # waiting for a disk leaves the CPU free for others
WITHIN = ("guest", "guest_nice")  # the kernel counts them in user and nice as well


class CpuTimes(NamedTuple):
    """Seconds since boot, all CPUs together; `own` by process id."""

    total: float
    busy: float  # stolen time included: a CPU that the hypervisor took away cannot be offered
    own: Mapping[int, float]


class CpuUse(NamedTuple):
    """Shares of all CPU time, 0 to 1."""

    busy: float
    busy_with_others_work: float


def times_of(fields: Mapping[str, float], own: Mapping[int, float]) -> CpuTimes:
    """Of psutil's cpu_times, whose fields depend on the kernel."""
    total = sum(seconds for name, seconds in fields.items() if name not in WITHIN)
    return CpuTimes(total, total - sum(fields.get(name, 0.0) for name in IDLE), own)


def use_between(before: CpuTimes | None, after: CpuTimes) -> CpuUse | None:
    """None when it cannot be told: there is nothing to compare with, or the counters did not move on."""
    if before is None or after.total <= before.total:
        return None
    total = after.total - before.total
    busy = min(max(after.busy - before.busy, 0.0), total)
    # A process that was not there before did all its work since.
    own = sum(max(seconds - before.own.get(pid, 0.0), 0.0) for pid, seconds in after.own.items())
    return CpuUse(busy / total, max(busy - own, 0.0) / total)


def process_seconds(stat: Path, ticks_per_second: int) -> float | None:
    """CPU time of a process with all its threads, from /proc/PID/stat; None when it is gone."""
    try:
        fields = stat.read_bytes().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / ticks_per_second
    except (OSError, ValueError, IndexError):
        return None


def pressure_ratio(path: Path) -> float | None:
    """Some avg60 of a pressure file (PSI), 0 to 1; None where the kernel has none or was told not to (psi=0)."""
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            kind, *averages = line.split()
            if kind == "some":
                return float(dict(field.split("=") for field in averages)["avg60"]) / 100
    except (OSError, ValueError, KeyError):
        pass
    return None
