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


class Bearer(StrEnum):
    """What kind of device can have it."""

    ACCELERATOR = "accelerator"
    HOST = "host"
    ANY = "any"


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
    bearer: Bearer = Bearer.ACCELERATOR


_TIB = 2.0**40
_COUNTER = Kind.COUNTER
_ANY, _HOST = Bearer.ANY, Bearer.HOST
_COUNTED = 1e12
"""No device outlives so many errors: drivers give 1.4e14, 9.2e18 and the like for "not available"."""

METRICS: tuple[Metric, ...] = (
    # Activity
    Metric(
        "utilization_ratio",
        "Share of the last sampling period in which any work ran; says nothing of how much. Of a host: busy CPU time.",
        fold=Fold.MAX, high=1.0, otel="hw.gpu.utilization", bearer=_ANY,
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
        bearer=_ANY,
    ),
    # A driver that answers zeros for all it does not know would hold nothing of nothing.
    Metric("memory_limit_bytes", "Memory there is.", low=1.0, high=64 * _TIB, otel="hw.gpu.memory.limit", bearer=_ANY),
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
    Metric("power_watts", "Power drawn now.", fold=Fold.MAX, high=20_000.0, otel="hw.power", bearer=_ANY),
    Metric(
        "energy_joules_total", "Energy used since the driver was loaded.", kind=_COUNTER, otel="hw.energy", bearer=_ANY,
    ),
    Metric(
        "temperature_celsius", "Temperature of the chip.", fold=Fold.MAX, low=-50.0, high=200.0,
        otel="hw.temperature", bearer=_ANY,
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
        "node, 3 drain peer-to-peer work, 4 drain and reset, above: as nvml.h says; 64 what it does not name.",
        fold=Fold.MAX, high=64.0, otel="hw.status",
    ),
    # Limits and modes that change seldom
    Metric("power_limit_watts", "Power it may draw.", group=Group.MEDIUM, high=20_000.0, otel="hw.power.limit"),
    Metric(
        "power_limit_default_watts", "The power limit that it starts with.", group=Group.SLOW, high=20_000.0,
        otel="hw.power.limit",
    ),
    Metric("persistence_mode", "1: the driver stays loaded without clients.", group=Group.SLOW, high=1.0),
    # Margins of heat
    Metric(
        "temperature_margin_celsius", "How much hotter the chip may get before it is slowed down.",
        group=Group.MEDIUM, fold=Fold.MIN, low=-150.0, high=200.0, otel="hw.temperature.limit",
    ),
    Metric(
        "temperature_slowdown_celsius", "Temperature of the chip at which its hardware slows it down.",
        group=Group.SLOW, high=200.0, otel="hw.temperature.limit",
    ),
    Metric(
        "throttle_brake_seconds_total", "Time held back by the power brake, which the power supply pulls.",
        kind=_COUNTER, group=Group.MEDIUM,
    ),
    # Memory errors. Corrected ones did no harm; since the driver was loaded, and over the device's life.
    Metric(
        "ecc_corrected_total", "Memory errors corrected since the driver was loaded.",
        kind=_COUNTER, group=Group.MEDIUM, high=_COUNTED, otel="hw.errors",
    ),
    Metric(
        "ecc_uncorrected_total", "Memory errors not corrected since the driver was loaded.",
        kind=_COUNTER, group=Group.MEDIUM, high=_COUNTED, otel="hw.errors",
    ),
    Metric(
        "ecc_corrected_lifetime_total", "Memory errors corrected in the device's life.",
        kind=_COUNTER, group=Group.SLOW, high=_COUNTED, otel="hw.errors",
    ),
    Metric(
        "ecc_uncorrected_lifetime_total", "Memory errors not corrected in the device's life.",
        kind=_COUNTER, group=Group.SLOW, high=_COUNTED, otel="hw.errors",
    ),
    Metric(
        "remapped_rows_corrected", "Rows of memory replaced by spare ones for corrected errors.",
        group=Group.SLOW, fold=Fold.MAX, high=1e6,
    ),
    Metric(
        "remapped_rows_uncorrected", "Rows of memory replaced by spare ones for uncorrected errors.",
        group=Group.SLOW, fold=Fold.MAX, high=1e6,
    ),
    Metric(
        "remap_pending", "1: rows wait to be replaced until the device is reset.",
        group=Group.SLOW, fold=Fold.MAX, high=1.0,
    ),
    Metric(
        "remap_failed", "1: a row could not be replaced.", group=Group.SLOW, fold=Fold.MAX, high=1.0,
    ),
    Metric(
        "retired_pages_corrected", "Pages of memory given up for corrected errors (boards without spare rows).",
        group=Group.SLOW, fold=Fold.MAX, high=1e6,
    ),
    Metric(
        "retired_pages_uncorrected", "Pages of memory given up for uncorrected errors (boards without spare rows).",
        group=Group.SLOW, fold=Fold.MAX, high=1e6,
    ),
    Metric(
        "retirement_pending", "1: pages wait to be given up until the driver is loaded again.",
        group=Group.SLOW, fold=Fold.MAX, high=1.0,
    ),
    Metric(
        "retired_pages", "Pages of memory given up, for whatever errors (boards without spare rows).",
        group=Group.SLOW, fold=Fold.MAX, high=1e6,
    ),
    Metric(
        "memory_unrepairable", "1: memory is broken that neither spare rows nor channels can replace.",
        group=Group.SLOW, fold=Fold.MAX, high=1.0,
    ),
    Metric(
        "sram_threshold_exceeded", "1: so many errors in the chip's own memories that its vendor's test would fail it.",
        group=Group.SLOW, fold=Fold.MAX, high=1.0,
    ),
    # Links in depth
    Metric(
        "pcie_generation", "Generation of PCIe in use; idle devices may lower it.", group=Group.MEDIUM, fold=Fold.MAX,
        high=16.0,
    ),
    Metric(
        "pcie_lanes", "PCIe lanes in use; idle devices may lower them.", group=Group.MEDIUM, fold=Fold.MAX, high=32.0,
    ),
    Metric("pcie_generation_limit", "Generation of PCIe that device and slot allow.", group=Group.SLOW, high=16.0),
    Metric("pcie_lanes_limit", "PCIe lanes that device and slot allow.", group=Group.SLOW, high=32.0),
    Metric("links", "Links to other devices that it has.", group=Group.MEDIUM, high=1_024.0),
    Metric(
        "links_inactive", "Of these, the ones that carry no traffic.",
        group=Group.MEDIUM, fold=Fold.MAX, high=1_024.0, otel="hw.network.up",
    ),
    Metric(
        "link_crc_errors_total", "Checksum errors on links, all together.",
        kind=_COUNTER, group=Group.SLOW, high=_COUNTED, otel="hw.errors",
    ),
    Metric(
        "link_replays_total", "Packets sent again over links, all together.",
        kind=_COUNTER, group=Group.SLOW, high=_COUNTED, otel="hw.errors",
    ),
    Metric(
        "link_recoveries_total", "Times that a link had to recover, all together.",
        kind=_COUNTER, group=Group.SLOW, high=_COUNTED, otel="hw.errors",
    ),
    Metric(
        "link_receive_errors_total", "Packets received with errors over links, all together (NVLink 5).",
        kind=_COUNTER, group=Group.SLOW, high=_COUNTED, otel="hw.errors",
    ),
    Metric(
        "fabric_state", "Joining the fabric of links: 0 there is none, 1 not begun, 2 under way, 3 completed (nvml.h).",
        group=Group.MEDIUM, fold=Fold.MIN, high=3.0,
    ),
    Metric(
        "fabric_health_mask", "What troubles the fabric, some bits each (nvml.h, NVML_GPU_FABRIC_HEALTH_MASK_…).",
        group=Group.MEDIUM, high=65_535.0,
    ),
    Metric(
        "fabric_health", "What the driver makes of the fabric: 1 healthy, 2 unhealthy, 3 of limited capacity (nvml.h).",
        group=Group.MEDIUM, fold=Fold.MAX, low=1.0, high=3.0,
    ),
    Metric(
        "fabric_bandwidth_degraded", "1: the fabric has less bandwidth than it should.",
        group=Group.MEDIUM, fold=Fold.MAX, high=1.0,
    ),
    Metric(
        "fabric_route_unhealthy", "1: a route through the fabric is unhealthy.",
        group=Group.MEDIUM, fold=Fold.MAX, high=1.0,
    ),
    Metric(
        "fabric_route_recovering", "1: a route through the fabric is being recovered.",
        group=Group.MEDIUM, fold=Fold.MAX, high=1.0,
    ),
    Metric(
        "fabric_access_recovering", "1: the fabric recovers from an access that timed out.",
        group=Group.MEDIUM, fold=Fold.MAX, high=1.0,
    ),
    Metric(
        "fabric_misconfigured",
        "0: the fabric is set up as it should be; 2 and above: what is wrong (nvml.h, …_INCORRECT_CONFIGURATION_…).",
        group=Group.MEDIUM, fold=Fold.MAX, high=15.0,
    ),
    Metric(
        "link_symbol_error_ratio", "Share of symbols that arrive broken, on the worst of its links (NVLink 5).",
        group=Group.SLOW, fold=Fold.MAX, high=1.0, otel="hw.errors",
    ),
    Metric(
        "link_effective_error_ratio",
        "Share of bits that are broken after forward error correction, on the worst of its links (NVLink 5).",
        group=Group.SLOW, fold=Fold.MAX, high=1.0, otel="hw.errors",
    ),
    # A host's CPUs
    Metric("cpu_cores", "Logical CPUs of the host.", high=65_536.0, otel="system.cpu.logical.count", bearer=_HOST),
    Metric(
        "cpu_busy_cores", "CPUs that were busy or stolen, Fallow's own share left out.",
        fold=Fold.MAX, high=65_536.0, bearer=_HOST,
    ),
    Metric(
        "cpu_pressure_ratio", "Share of the last minute in which some task waited for a CPU (PSI some avg60).",
        fold=Fold.MAX, high=1.0, bearer=_HOST,
    ),
    Metric(
        "memory_available_bytes", "Memory that new work could take without swapping (MemAvailable).",
        fold=Fold.MIN, high=64 * _TIB, otel="system.memory.usage", bearer=_HOST,
    ),
    Metric(
        "job_processes", "Processes in the control groups of job schedulers and virtual machines "
        "(slurm, kubepods, machine.slice).",
        fold=Fold.MAX, high=1e7, bearer=_HOST,
    ),
    # What ails a host
    Metric(
        "rdma_ports", "InfiniBand and RoCE ports that were active since its reader started.",
        group=Group.MEDIUM, high=4_096.0, bearer=_HOST,
    ),
    Metric(
        "rdma_ports_down", "Of these, the ones that are not active now.",
        group=Group.MEDIUM, fold=Fold.MAX, high=4_096.0, otel="hw.network.up", bearer=_HOST,
    ),
    Metric(
        "rdma_ports_slow", "Active InfiniBand and RoCE ports that are slower than they were since its reader started.",
        group=Group.MEDIUM, fold=Fold.MAX, high=4_096.0, bearer=_HOST,
    ),
    Metric(
        "rdma_port_rate_bytes_per_second", "Speed of the slowest of the active InfiniBand and RoCE ports.",
        group=Group.MEDIUM, fold=Fold.MIN, high=1e14, otel="hw.network.bandwidth.limit", bearer=_HOST,
    ),
    Metric(
        "oom_kills_total", "Processes that the kernel killed since boot because memory ran out.",
        kind=_COUNTER, group=Group.MEDIUM, high=_COUNTED, bearer=_HOST,
    ),
    Metric(
        "rdma_port_errors_total", "Errors that InfiniBand and RoCE ports counted, all together: symbols, packets "
        "received broken, link integrity, overrun buffers.",
        kind=_COUNTER, group=Group.SLOW, high=_COUNTED, otel="hw.errors", bearer=_HOST,
    ),
    Metric(
        "rdma_link_downs_total", "Times that links of InfiniBand and RoCE ports went down, all together.",
        kind=_COUNTER, group=Group.SLOW, high=_COUNTED, otel="hw.errors", bearer=_HOST,
    ),
    Metric(
        "rdma_receive_bytes_total", "Bytes received by InfiniBand and RoCE ports, all together.",
        kind=_COUNTER, group=Group.SLOW, otel="hw.network.io", bearer=_HOST,
    ),
    Metric(
        "rdma_transmit_bytes_total", "Bytes sent by InfiniBand and RoCE ports, all together.",
        kind=_COUNTER, group=Group.SLOW, otel="hw.network.io", bearer=_HOST,
    ),
    Metric(
        "tasks_blocked", "Processes that have waited in the kernel for 5 minutes and cannot be woken (state D).",
        group=Group.SLOW, fold=Fold.MAX, high=1e7, bearer=_HOST,
    ),
    Metric(
        "tasks_blocked_driver", "Of these, the ones of an accelerator's driver, by their names.",
        group=Group.SLOW, fold=Fold.MAX, high=1e7, bearer=_HOST,
    ),
    Metric(
        "root_free_ratio", "Share of the file system of / that is free for users other than root.",
        group=Group.SLOW, fold=Fold.MIN, high=1.0, otel="system.filesystem.utilization", bearer=_HOST,
    ),
    Metric(
        "root_read_only", "1: nothing can be written on the file system of /.",
        group=Group.SLOW, fold=Fold.MAX, high=1.0, bearer=_HOST,
    ),
    Metric(
        "var_free_ratio", "Share of the file system of /var that is free for users other than root.",
        group=Group.SLOW, fold=Fold.MIN, high=1.0, otel="system.filesystem.utilization", bearer=_HOST,
    ),
    Metric(
        "var_read_only", "1: nothing can be written on the file system of /var.",
        group=Group.SLOW, fold=Fold.MAX, high=1.0, bearer=_HOST,
    ),
    Metric(
        "network_mounts", "File systems of other machines that were asked whether they answer (NFS, Lustre, others).",
        group=Group.SLOW, high=1e6, bearer=_HOST,
    ),
    Metric(
        "network_mounts_down", "Of these, the ones that did not answer, or with an error; while one hangs, at least.",
        group=Group.SLOW, fold=Fold.MAX, high=1e6, bearer=_HOST,
    ),
)

NAMES: tuple[str, ...] = tuple(metric.name for metric in METRICS)
BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
COLUMN: dict[str, int] = {name: number for number, name in enumerate(NAMES)}
"""A metric's column in the collector's arrays."""
