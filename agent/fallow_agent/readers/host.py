"""The host itself as a device of class "general": its CPUs and memory, from psutil, /proc and /sys.

In a container the kernel shows the whole host, so its numbers are meant for an agent outside of one; a container's
CPU quota is not taken for the number of its cores.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from fallow_agent.happening import Happening
from fallow_agent.readers import family, host_cpu, host_health, host_identity, host_jobs, host_sensors
from fallow_agent.readers.reader import DeviceIdentity, ReaderError, Reading
from fallow_proto.metrics import Group
from fallow_proto.states import DeviceClass

_COLUMNS = (
    "utilization_ratio",
    "memory_usage_bytes",
    "memory_limit_bytes",
    "power_watts",
    "energy_joules_total",
    "temperature_celsius",
    "cpu_cores",
    "cpu_busy_cores",
    "cpu_pressure_ratio",
    "memory_available_bytes",
    "job_processes",
)


class HostReader:
    """Roots are parameters so that the tests can show it other machines."""

    name = "host"

    def __init__(
        self,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        machine_id: Path = Path("/etc/machine-id"),
        node: str = "",
        cores: int | None = None,
        own_pids: Callable[[], Sequence[int]] = family.pids,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._proc = proc
        self._sys = sys
        self._cgroups = sys / "fs/cgroup"
        self._pressure_file = proc / "pressure/cpu"
        self._machine_id = machine_id
        self._node = node or socket.gethostname()
        self._cores = cores
        self._own_pids = own_pids
        self._clock = clock
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._uuid = ""
        self._before: host_cpu.CpuTimes | None = None
        self._rapl: host_sensors.Rapl | None = None
        self._temperatures: tuple[Path, ...] = ()
        self._health: host_health.HostHealth | None = None
        self._tell: Callable[[Sequence[Happening]], None] | None = None

    def open(self) -> Sequence[DeviceIdentity]:
        psutil.PROCFS_PATH = str(self._proc)
        try:
            vendor, model = host_identity.vendor_and_model((self._proc / "cpuinfo").read_text(encoding="utf-8"))
        except OSError as error:
            raise ReaderError(f"{error.filename} cannot be read: {error.strerror}; is /proc mounted?") from error
        self._uuid = host_identity.uuid_of(self._machine_id_text(), self._node)
        self._rapl = host_sensors.Rapl.find(self._sys)
        self._temperatures = host_sensors.find_temperatures(self._sys)
        unsupported = set()
        if self._rapl is None:
            unsupported |= {"power_watts", "energy_joules_total"}
        if not self._temperatures:
            unsupported.add("temperature_celsius")
        if self._pressure() is None:
            unsupported.add("cpu_pressure_ratio")
        self._health = host_health.HostHealth(self._proc, self._sys, self._pass_on)
        return [
            DeviceIdentity(
                uuid=self._uuid,
                vendor=vendor,
                model=model,
                index=0,
                device_class=DeviceClass.GENERAL,
                unsupported=self._health.unsupported | unsupported,
            )
        ]

    def columns(self, group: Group) -> Sequence[str]:
        return _COLUMNS if group is Group.FAST else host_health.COLUMNS[group]

    def read(self, group: Group) -> Sequence[Reading]:
        values = self._read_cpu() if group is Group.FAST else self._read_health(group)
        return [Reading(self._uuid, values)]

    def listen(self, tell: Callable[[Sequence[Happening]], None], _leave: Callable[[str], None]) -> None:
        self._tell = tell

    def changed(self) -> bool:
        return self._health is not None and self._health.changed()

    def close(self) -> None:
        self._before = None
        self._health = None
        self._tell = None

    def _read_health(self, group: Group) -> dict[str, float]:
        return {} if self._health is None else self._health.read(group, self._clock())

    def _read_cpu(self) -> dict[str, float]:
        try:
            memory = psutil.virtual_memory()
            after = host_cpu.times_of(psutil.cpu_times()._asdict(), self._own_seconds())
        except OSError as error:
            raise ReaderError(f"{error.filename} cannot be read: {error.strerror}; is /proc mounted?") from error
        use, self._before = host_cpu.use_between(self._before, after), after
        power = self._rapl.read(self._clock()) if self._rapl else None
        cores = self._cores or os.cpu_count()
        values = {
            "utilization_ratio": use.busy if use else None,
            "memory_usage_bytes": memory.total - memory.available,  # what new work could not have
            "memory_limit_bytes": memory.total,
            "power_watts": power.watts if power else None,
            "energy_joules_total": power.joules if power else None,
            "temperature_celsius": host_sensors.hottest_celsius(self._temperatures),
            "cpu_cores": cores,
            "cpu_busy_cores": use.busy_with_others_work * cores if use and cores else None,
            "cpu_pressure_ratio": self._pressure(),
            "memory_available_bytes": memory.available,
            "job_processes": host_jobs.count(self._cgroups),
        }
        return {name: float(value) for name, value in values.items() if value is not None}

    def _pass_on(self, happened: Sequence[Happening]) -> None:
        if self._tell is not None:
            self._tell(happened)

    def _machine_id_text(self) -> str:
        try:
            return self._machine_id.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return ""

    def _own_seconds(self) -> dict[int, float]:
        seconds = {pid: host_cpu.process_seconds(self._proc / f"{pid}/stat", self._ticks) for pid in self._own_pids()}
        return {pid: value for pid, value in seconds.items() if value is not None}

    def _pressure(self) -> float | None:
        return host_cpu.pressure_ratio(self._pressure_file)
