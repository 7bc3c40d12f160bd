"""The one metric table: it drives the wire, the collector's arrays, the store's columns, /metrics and the documents.

Names are spelled the Prometheus way (base unit as suffix, `_ratio` from 0 to 1, `_total` on counters); beside each
stands OpenTelemetry's `hw.*` or `system.*` name where there is one
(https://opentelemetry.io/docs/specs/semconv/hardware/). A value outside `low`..`high` was invented by a driver and is
not known: readers leave it out, and the collector refuses it again.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf


class Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"


class Group(StrEnum):
    """Columns read at one pace."""

    FAST = "fast"  # every tick, at least once a second
    MEDIUM = "medium"  # every 10 s
    SLOW = "slow"  # every 60 s


class Fold(StrEnum):
    """What a report says of a column that was sampled several times since the last one.

    A burst must never be averaged away, so what shows work keeps its peak.
    """

    LAST = "last"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    help: str
    kind: Kind = Kind.GAUGE
    group: Group = Group.FAST
    fold: Fold = Fold.LAST
    low: float = 0.0
    high: float = inf
    otel: str = ""


_TIB = 2.0**40
_COUNTER = Kind.COUNTER

METRICS: tuple[Metric, ...] = (
    # Activity
    Metric(
        "utilization_ratio",
        "Share of the last sampling period in which any work ran; says nothing of how much. Of a host: busy CPU time.",
        fold=Fold.MAX, high=1.0, otel="hw.gpu.utilization",
    ),
    Metric(
        "compute_active_ratio", "Share of cycles in which compute units had work, averaged over the units.",
        fold=Fold.MAX, high=1.0,
    ),
    Metric(
        "memory_bandwidth_active_ratio",
        "Share of the last sampling period in which memory was read or written (NVML's \"memory utilization\").",
        fold=Fold.MAX, high=1.0,
    ),
    # Holding
    Metric(
        "memory_usage_bytes", "Memory in use.", fold=Fold.MAX, high=64 * _TIB, otel="hw.gpu.memory.usage",
    ),
    Metric("memory_limit_bytes", "Memory there is.", high=64 * _TIB, otel="hw.gpu.memory.limit"),
    Metric(
        "processes", "Processes that use the device, as its driver counts them.", fold=Fold.MAX, high=1e6,
    ),
    Metric(
        "processes_exempt",
        "Of these, the ones that configuration says hold nothing (display servers, driver daemons).",
        fold=Fold.MIN, high=1e6,
    ),
    Metric(
        "processes_cpu_seconds_total", "CPU time of the processes that use the device, while they live.",
        kind=_COUNTER, group=Group.MEDIUM,
    ),
    # Power and heat
    Metric("power_watts", "Power drawn now.", fold=Fold.MAX, high=20_000.0, otel="hw.power"),
    Metric("energy_joules_total", "Energy used since the driver was loaded.", kind=_COUNTER, otel="hw.energy"),
    Metric(
        "temperature_celsius", "Temperature of the chip.", fold=Fold.MAX, low=-50.0, high=200.0,
        otel="hw.temperature",
    ),
    Metric(
        "memory_temperature_celsius", "Temperature of its memory.", fold=Fold.MAX, low=-50.0, high=200.0,
        otel="hw.temperature",
    ),
    # Clocks
    Metric("clock_hertz", "Clock of the compute units.", fold=Fold.MAX, high=20e9),
    Metric("memory_clock_hertz", "Clock of the memory.", fold=Fold.MAX, high=20e9),
    # Throttling, links
    Metric("throttle_power_seconds_total", "Time held back by the power limit.", kind=_COUNTER),
    Metric("throttle_thermal_seconds_total", "Time held back by heat.", kind=_COUNTER),
    Metric("pcie_replays_total", "PCIe packets sent again.", kind=_COUNTER, otel="hw.errors"),
    Metric("io_receive_bytes_total", "Bytes received over PCIe.", kind=_COUNTER, otel="hw.gpu.io"),
    Metric("io_transmit_bytes_total", "Bytes sent over PCIe.", kind=_COUNTER, otel="hw.gpu.io"),
    Metric("link_receive_bytes_total", "Bytes received from other devices, all links together.", kind=_COUNTER),
    Metric("link_transmit_bytes_total", "Bytes sent to other devices, all links together.", kind=_COUNTER),
    # What the driver says must be done: NVML field 230 (nvmlDeviceGpuRecoveryAction_t)
    Metric(
        "recovery_action",
        "What the driver asks for (nvml.h, nvmlDeviceGpuRecoveryAction_t): 0 nothing, 1 reset the device, 2 reboot the "
        "node, 3 drain peer-to-peer work, 4 drain and reset, above: as nvml.h says.",
        fold=Fold.MAX, high=64.0, otel="hw.status",
    ),
    # Limits and modes that change seldom
    Metric("power_limit_watts", "Power it may draw.", group=Group.MEDIUM, high=20_000.0, otel="hw.power.limit"),
    # A host's CPUs
    Metric("cpu_cores", "Logical CPUs of the host.", high=65_536.0, otel="system.cpu.logical.count"),
    Metric(
        "cpu_busy_cores", "CPUs that were busy or stolen, Fallow's own share left out.",
        fold=Fold.MAX, high=65_536.0,
    ),
    Metric(
        "cpu_pressure_ratio", "Share of the last minute in which some task waited for a CPU (PSI some avg60).",
        fold=Fold.MAX, high=1.0,
    ),
    Metric(
        "memory_available_bytes", "Memory that new work could take without swapping (MemAvailable).",
        fold=Fold.MIN, high=64 * _TIB, otel="system.memory.usage",
    ),
    Metric(
        "job_processes", "Processes in the control groups of job schedulers and virtual machines "
        "(slurm, kubepods, machine.slice).",
        fold=Fold.MAX, high=1e7,
    ),
)

NAMES: tuple[str, ...] = tuple(metric.name for metric in METRICS)
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
COLUMN: dict[str, int] = {name: number for number, name in enumerate(NAMES)}
"""A metric's column in the collector's arrays."""
