"""What ails a host, apart from its CPUs and memory: ports, processes that hang, disks, servers, memory run out.

Ports are looked at every 10 s, as short drops matter; so is the counter of processes killed for want of memory, because
a storm is one event only while it is told more often than once a minute. The rest once a minute.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fallow_agent.happening import Happening
from fallow_agent.readers import host_mounts, host_port_counters, host_port_rates, host_ports, host_tasks
from fallow_agent.readers.aside import Aside
from fallow_agent.readers.host_disks import Disks
from fallow_agent.readers.host_servers import Servers
from fallow_proto.metrics import Group
from fallow_proto.states import EventKind

COLUMNS: Mapping[Group, Sequence[str]] = {
    Group.FAST: (),
    Group.MEDIUM: (
        "rdma_ports", "rdma_ports_down", "rdma_ports_slow", "rdma_port_rate_bytes_per_second", "oom_kills_total",
    ),
    Group.SLOW: (
        "rdma_port_errors_total", "rdma_link_downs_total", "rdma_receive_bytes_total", "rdma_transmit_bytes_total",
        "tasks_blocked", "tasks_blocked_driver", "root_free_ratio", "root_read_only", "var_free_ratio",
        "var_read_only", "network_mounts", "network_mounts_down",
    ),
}
_OF_PORTS = frozenset({
    "rdma_ports", "rdma_ports_down", "rdma_ports_slow", "rdma_port_rate_bytes_per_second", "rdma_port_errors_total",
    "rdma_link_downs_total", "rdma_receive_bytes_total", "rdma_transmit_bytes_total",
})
PATIENCE_S = 0.2
"""How long a reading waits for the adapters, which answer within milliseconds when they do."""

Tell = Callable[[Sequence[Happening]], None]


class HostHealth:
    """Roots as in HostReader. `tell` is called from within read()."""

    def __init__(self, proc: Path, sys: Path, tell: Tell) -> None:
        self._proc = proc
        self._sys = sys
        self._tell = tell
        self._has_ports = bool(host_ports.folders(sys))
        self._ports = host_ports.PortWatch()
        self._rates = host_port_rates.PortRates()
        self._ask_ports = Aside(lambda: host_ports.found(sys))
        self._counters = host_port_counters.PortCounters()
        self._ask_counters = Aside(lambda: host_port_counters.found(sys))
        self._tasks = host_tasks.TaskWatch()
        self._disks = Disks()
        self._servers = Servers()
        self._oom_kills = _oom_kills(proc)

    @property
    def unsupported(self) -> frozenset[str]:
        return (frozenset() if self._has_ports else _OF_PORTS) | (
            frozenset() if self._oom_kills is not None else {"oom_kills_total"}
        )

    def changed(self) -> bool:
        """Whether adapters came: a driver may be loaded after the agent."""
        return not self._has_ports and bool(host_ports.folders(self._sys))

    def read(self, group: Group, now: float) -> dict[str, float]:
        """Metrics that are known. now: monotonic seconds."""
        match group:
            case Group.FAST:
                return {}
            case Group.MEDIUM:
                return self._read_ports() | self._read_oom_kills()
            case Group.SLOW:
                return self._read_counters() | self._read_tasks(now) | self._read_mounts(now)

    def _read_ports(self) -> dict[str, float]:
        found = self._ask_ports.ask(PATIENCE_S) if self._has_ports else None
        if found is None:
            return {}
        self._told(self._ports.take(found))
        ports, down = self._ports.count(found)
        known = {} if down is None else {"rdma_ports_down": float(down)}
        return {"rdma_ports": float(ports)} | known | self._rates.take(found)

    def _read_counters(self) -> dict[str, float]:
        found = self._ask_counters.ask(PATIENCE_S) if self._has_ports else None
        return {} if found is None else self._counters.take(found)

    def _read_oom_kills(self) -> dict[str, float]:
        before, now = self._oom_kills, _oom_kills(self._proc)
        if before is None or now is None:
            return {}
        self._oom_kills = now
        if now > before:
            self._told([Happening(
                EventKind.OOM_KILL, "", "memory ran out and the kernel killed processes; its log names them (dmesg)",
                source="proc", times=now - before,
            )])
        return {"oom_kills_total": float(now)}

    def _read_tasks(self, now: float) -> dict[str, float]:
        waiting = host_tasks.waiting(self._proc)
        blocked = None if waiting is None else self._tasks.take(waiting, now)
        if blocked is None:
            return {}
        return {"tasks_blocked": float(blocked.tasks), "tasks_blocked_driver": float(blocked.of_drivers)}

    def _read_mounts(self, now: float) -> dict[str, float]:
        try:
            mounts = host_mounts.parsed((self._proc / "self/mountinfo").read_bytes())
        except OSError:
            return {}
        values, happened = self._disks.take(mounts)
        self._told(happened)
        servers = self._servers.take(host_mounts.remote(mounts), now)
        if servers is not None:
            values |= {"network_mounts": float(servers.mounts), "network_mounts_down": float(servers.down)}
        return values

    def _told(self, happened: Sequence[Happening]) -> None:
        if happened:
            self._tell(happened)


def _oom_kills(proc: Path) -> int | None:
    """Since boot, of /proc/vmstat; None before Linux 4.13."""
    try:
        for line in (proc / "vmstat").read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        pass
    return None
