"""What a simulated libnvidia-ml.so.1 answers, in NVML's own units; libnvidia-ml.c says how the file is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

ALL_LINKS = 0xFFFFFFFF  # the scope of NVLink fields that adds all links
MIB = 2**20


class Process(NamedTuple):
    pid: int
    memory_bytes: int | None = None  # None: not available, as in a container


class Hang(NamedTuple):
    """A fault: the function does not return, for some seconds or until the scenario says otherwise."""

    seconds: float | None = None


class Mode(NamedTuple):
    current: int
    pending: int  # from the next reset on


class Link(NamedTuple):
    """An active NVLink and what is at its far end: 0 a device, 1 a POWER9, 2 a switch, 255 not known."""

    kind: int
    pci_bus_id: str = ""  # empty: not told


class Fabric(NamedTuple):
    state: int
    cluster: str  # 32 hexadecimal digits
    clique: int
    status: int = 0
    health: int = 0b01_10_10_10_10  # mask: nothing is wrong
    summary: int = 1  # healthy
    newest: int = 3  # version of the structure that the driver knows


class Event(NamedTuple):
    """What the driver tells unasked; its type is a bit of nvmlEventType…, its data the number of an Xid."""

    kind: int
    data: int
    device: str
    times: int = 1
    gpu_instance: int = 0xFFFFFFFF
    compute_instance: int = 0xFFFFFFFF


class SystemEvent(NamedTuple):
    """The driver of a device was unbound (1) or bound (2)."""

    kind: int
    device: int = 0


_ALONE = Fabric(3, "0" * 32, 0)  # completed, on a node of its own
OFF = Mode(0, 0)
ON = Mode(1, 1)


Fault = int | Hang
"""What a function does instead of answering: it returns an nvmlReturn_t, or hangs."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A MIG instance of a board; the defaults are an idle 1g.10gb of an H100, on which there is no more."""

    uuid: str
    gpu_instance: int
    compute_instance: int = 0
    name: str = "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
    slices: tuple[int, int] = (1, 1)  # of the GPU instance, of the compute instance
    memory_total_bytes: int = 9_728 * MIB
    memory_used_bytes: int = 12 * MIB
    sm_active_percent: float | None = 0.0  # GPM, of its GPU instance
    compute_processes: tuple[Process, ...] = ()
    faults: Mapping[str, Fault] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Device:
    """One board; the defaults are an idle H100 SXM. None: not supported.

    Faults go by the name of a C function, or "*" for all. `raw` overrides single keys of the file, for values that no
    board should give.
    """

    uuid: str
    model: str = "NVIDIA H100 80GB HBM3"
    serial: str | None = "1650522003820"
    minor: int | None = 0
    pci_domain: int = 0
    pci_bus: int = 0x17
    pci_device: int = 0
    memory_total_bytes: int | None = 81_559 * MIB
    memory_reserved_bytes: int = 551 * MIB
    memory_used_bytes: int = 1 * MIB
    utilization_percent: int | None = 0
    memory_utilization_percent: int = 0
    sm_active_percent: float | None = 0.0  # GPM
    power_milliwatts: int | None = 68_120
    power_limit_milliwatts: int | None = 700_000
    energy_millijoules: int | None = 5_000_000_000
    energy_since_s: float | None = None  # CLOCK_MONOTONIC; from then on it grows by the power
    temperature_celsius: int | None = 25
    memory_temperature_celsius: int | None = 33
    sm_clock_megahertz: int | None = 345
    memory_clock_megahertz: int | None = 2_619
    compute_processes: tuple[Process, ...] | None = ()
    graphics_processes: tuple[Process, ...] | None = ()
    mps_processes: tuple[Process, ...] | None = ()
    compute_mode: int | None = 0
    persistence_mode: int | None = 1
    mig: Mode | None = OFF
    instances: tuple[Instance | None, ...] = ()  # by index; None: there is none at this one
    ecc: Mode | None = ON
    recovery_action: int | None = 0
    throttle_power_nanoseconds: int | None = 0
    throttle_thermal_software_nanoseconds: int | None = 0
    throttle_thermal_hardware_nanoseconds: int | None = 0
    pcie_replays: int | None = 0
    nvlink_receive_kibibytes: int | None = 0
    nvlink_transmit_kibibytes: int | None = 0
    throttle_brake_nanoseconds: int | None = 0
    ecc_corrected: int | None = 0  # since the driver was loaded
    ecc_uncorrected: int | None = 0
    ecc_corrected_lifetime: int | None = 0
    ecc_uncorrected_lifetime: int | None = 0
    remapped_rows: tuple[int, int, int, int] | None = (0, 0, 0, 0)  # corrected, uncorrected, pending, failed
    retired_pages: tuple[int, int, int] | None = None  # corrected, uncorrected, pending; boards before Ampere
    memory_unrepairable: int | None = 0
    sram_threshold_exceeded: int | None = 0
    power_limit_default_milliwatts: int | None = 700_000
    temperature_margin_celsius: int | None = 60
    temperature_slowdown_celsius: int | None = 87
    pcie_generation: int | None = 5
    pcie_lanes: int | None = 16
    pcie_generation_limit: int | None = 5
    pcie_lanes_limit: int | None = 16
    nvlink_states: tuple[int, ...] = (1,) * 18  # of each link, NVML_NVLINK_STATE_…
    nvlink_errors: Mapping[int, int] = field(default_factory=lambda: {161: 0, 162: 0, 163: 0})  # field -> of each link
    links: tuple[Link | None, ...] = ()  # None: down
    fabric: Fabric | None = _ALONE
    event_types: int | None = 0xF39F  # of an H100: all that there are, but DRAM retirement
    faults: Mapping[str, Fault] = field(default_factory=dict)
    raw: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    devices: tuple[Device, ...] = ()
    driver_version: str = "580.95.05"
    faults: Mapping[str, Fault] = field(default_factory=dict)
    events: tuple[Event, ...] = ()  # those since the start; more are added at the end
    system_events: tuple[SystemEvent, ...] = ()  # the same


NOT_OF_H100 = frozenset({
    "retired_pages_corrected", "retired_pages_uncorrected", "retired_pages", "retirement_pending",
    "link_receive_errors_total", "link_symbol_error_ratio", "link_effective_error_ratio",
})
"""Metrics that the driver of an H100 declares not to exist."""


NOT_AT_FIRST = frozenset({"compute_active_ratio"})
"""Metrics that two readings a second apart are needed for."""


def h100(number: int) -> Device:
    """The idle H100 of this number in its node, with an identity of its own."""
    return Device(
        uuid=f"GPU-78073210-c690-bb74-d538-{number:012x}",
        serial=f"{1650522003820 + number}",
        minor=number,
        pci_bus=0x17 + number,
    )


def partitioned(board: Device, *instances: Instance | None) -> Device:
    """The board in MIG mode, with these instances by index."""
    return replace(board, mig=ON, instances=instances)


def render(scenario: Scenario) -> str:
    """The text of the scenario file."""
    lines = [f"driver_version={scenario.driver_version}", *_faults(scenario.faults)]
    for number, event in enumerate(scenario.events):
        lines.append(f"event.{number}={event.kind} {event.data} {event.times} {event.device} {event.gpu_instance} "
                     f"{event.compute_instance}")
    lines += [f"system.{number}={event.kind} {event.device}" for number, event in enumerate(scenario.system_events)]
    for device in scenario.devices:
        lines.append("[device]")
        keys = {**_values(device), **_fields(device), **device.raw}
        lines += [f"{key}={value}" for key, value in keys.items() if value is not None]
        lines += _faults(device.faults)
    for device in scenario.devices:
        for index, instance in enumerate(device.instances):
            if instance is not None:
                lines.append("[instance]")
                keys = _of_instance(device, index, instance)
                lines += [f"{key}={value}" for key, value in keys.items() if value is not None]
                lines += _faults(instance.faults)
    return "\n".join(lines) + "\n"


def _faults(faults: Mapping[str, Fault]) -> list[str]:
    return [f"fault.{function}={_fault(fault)}" for function, fault in faults.items()]


def _fault(fault: Fault) -> str:
    match fault:
        case Hang(None):
            return "hang"
        case Hang(seconds):
            return f"hang {seconds}"
        case code:
            return str(code)


def _values(device: Device) -> dict[str, str | int | float | None]:
    partitioned = device.mig is not None and device.mig.current == 1
    total = device.memory_total_bytes
    return {
        "uuid": device.uuid,
        "name": device.model,
        "serial": device.serial,
        "minor": device.minor,
        "pci_domain": device.pci_domain,
        "pci_bus": device.pci_bus,
        "pci_device": device.pci_device,
        "memory_total": total,
        "memory_reserved": device.memory_reserved_bytes,
        "memory_used": device.memory_used_bytes,
        "memory_free": None if total is None else total - device.memory_reserved_bytes - device.memory_used_bytes,
        "utilization_gpu": None if partitioned else device.utilization_percent,
        "utilization_memory": device.memory_utilization_percent,
        "sm_active": device.sm_active_percent,
        "power_mw": device.power_milliwatts,
        "power_limit_mw": device.power_limit_milliwatts,
        "energy_mj": device.energy_millijoules,
        "energy_since_s": device.energy_since_s,
        "temperature": device.temperature_celsius,
        "clock.graphics": device.sm_clock_megahertz,
        "clock.sm": device.sm_clock_megahertz,
        "clock.memory": device.memory_clock_megahertz,
        "processes.compute": _processes(device.compute_processes),
        "processes.graphics": _processes(device.graphics_processes),
        "processes.mps": _processes(device.mps_processes),
        "compute_mode": device.compute_mode,
        "persistence_mode": device.persistence_mode,
        "mig.current": device.mig and device.mig.current,
        "mig.pending": device.mig and device.mig.pending,
        "ecc.current": device.ecc and device.ecc.current,
        "ecc.pending": device.ecc and device.ecc.pending,
        "event_types": device.event_types,
        **{f"link.{n}": f"{link.kind} {link.pci_bus_id}" if link else "down" for n, link in enumerate(device.links)},
        "fabric": device.fabric and f"{device.fabric.state} {device.fabric.status} {device.fabric.clique} "
                                    f"{device.fabric.cluster}",
        "fabric_health": device.fabric and device.fabric.health,
        "fabric_summary": device.fabric and device.fabric.summary,
        "fabric_newest": device.fabric and device.fabric.newest,
        "memory_unrepairable": device.memory_unrepairable,
        "sram_threshold_exceeded": device.sram_threshold_exceeded,
        "temperature_margin": device.temperature_margin_celsius,
        "temperature_slowdown": device.temperature_slowdown_celsius,
        "pcie_generation": device.pcie_generation,
        "pcie_lanes": device.pcie_lanes,
        "pcie_generation_limit": device.pcie_generation_limit,
        "pcie_lanes_limit": device.pcie_lanes_limit,
    }


def _of_instance(board: Device, index: int, instance: Instance) -> dict[str, str | int | float | None]:
    return {
        "uuid": instance.uuid,
        "parent": board.uuid,
        "mig_index": index,
        "gpu_instance": instance.gpu_instance,
        "compute_instance": instance.compute_instance,
        "name": instance.name,
        "slices.gpu": instance.slices[0],
        "slices.compute": instance.slices[1],
        "memory_mib": instance.memory_total_bytes // MIB,
        "memory_total": instance.memory_total_bytes,
        "memory_reserved": 0,
        "memory_used": instance.memory_used_bytes,
        "memory_free": instance.memory_total_bytes - instance.memory_used_bytes,
        "sm_active": instance.sm_active_percent,
        "processes.compute": _processes(instance.compute_processes),
    }


def _processes(processes: tuple[Process, ...] | None) -> str | None:
    if processes is None:
        return None
    return " ".join(
        f"{pid}" if memory_bytes is None else f"{pid}:{memory_bytes}" for pid, memory_bytes in processes
    )


def _fields(device: Device) -> dict[str, str | None]:
    """Field values by number, with the types in which nvml.h or a board gives them."""
    return {
        "field.186": _typed("uint", device.power_milliwatts),
        "field.185": _typed("uint", device.power_milliwatts),
        "field.83": None if device.energy_millijoules is None else "energy",
        "field.82": _typed("uint", device.memory_temperature_celsius),
        "field.308": _typed("double", device.temperature_celsius),
        "field.230": _typed("uint", device.recovery_action),
        "field.74": _typed("ull", device.throttle_power_nanoseconds),
        "field.269": _typed("ull", device.throttle_thermal_software_nanoseconds),
        "field.270": _typed("ull", device.throttle_thermal_hardware_nanoseconds),
        "field.94": _typed("uint", device.pcie_replays),
        "field.271": _typed("ull", device.throttle_brake_nanoseconds),
        "field.3": _typed("ull", device.ecc_corrected),
        "field.4": _typed("ull", device.ecc_uncorrected),
        "field.5": _typed("ull", device.ecc_corrected_lifetime),
        "field.6": _typed("ull", device.ecc_uncorrected_lifetime),
        "field.189": _typed("uint", device.power_limit_default_milliwatts),
        **{f"field.{142 + n}": _typed("uint", value) for n, value in enumerate(device.remapped_rows or ())},
        **{f"field.{29 + n}": _typed("uint", value) for n, value in enumerate(device.retired_pages or ())},
        **{
            _of_link(number, link): _typed("ull", value)
            for link, state in enumerate(device.nvlink_states)
            for number, value in {165: state, **device.nvlink_errors}.items()
        },
        f"field.138.{ALL_LINKS}": _typed("ull", device.nvlink_transmit_kibibytes),
        f"field.139.{ALL_LINKS}": _typed("ull", device.nvlink_receive_kibibytes),
    }


def _of_link(number: int, link: int) -> str:
    return f"field.{number}.{link}" if link else f"field.{number}"


def _typed(kind: str, value: int | None) -> str | None:
    return None if value is None else f"{kind} {value}"
