"""What is asked of NVML beside field values: the calls of one device at one tick, as few as there can be.

Every call may raise pynvml.NVMLError; nvml_device.py judges its code.
"""

import ctypes

import pynvml as nvml

from fallow_agent.readers.nvml_fabric import FABRIC
from fallow_agent.readers.nvml_fields import Call, Handle, Told, check, function
from fallow_agent.readers.nvml_links import LINK_METRICS
from fallow_agent.readers.nvml_memory import MEMORY_FLAGS
from fallow_agent.readers.nvml_values import ROWS, UNSUPPORTED, known, memory_in_use, merge
from fallow_agent.readers.reader import Process

_MHZ = 1e6


def _utilization(handle: Handle) -> Told:
    rates = nvml.nvmlDeviceGetUtilizationRates(handle)
    return Told(
        known("utilization_ratio", rates.gpu, 0.01) | known("memory_bandwidth_active_ratio", rates.memory, 0.01)
    )


def _memory(handle: Handle) -> Told:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    limit = known("memory_limit_bytes", memory.total)
    if not limit or max(memory.reserved, memory.free, memory.used) > memory.total:
        return Told(limit)
    in_use = memory_in_use(memory.total, memory.reserved, memory.free, memory.used)
    return Told(limit | known("memory_usage_bytes", in_use))


def _temperature(handle: Handle) -> Told:
    return Told(known("temperature_celsius", nvml.nvmlDeviceGetTemperatureV(handle, nvml.NVML_TEMPERATURE_GPU)))


def _temperature_by_older_call(handle: Handle) -> Told:
    return Told(known("temperature_celsius", nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)))


def _clock(handle: Handle) -> Told:
    return Told(known("clock_hertz", nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM), _MHZ))


def _memory_clock(handle: Handle) -> Told:
    return Told(known("memory_clock_hertz", nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM), _MHZ))


def _power_limit(handle: Handle) -> Told:
    return Told(known("power_limit_watts", nvml.nvmlDeviceGetEnforcedPowerLimit(handle), 1e-3))


def _temperature_margin(handle: Handle) -> Told:
    return Told(known("temperature_margin_celsius", nvml.nvmlDeviceGetMarginTemperature(handle)))


def _temperature_slowdown(handle: Handle) -> Told:
    threshold = nvml.nvmlDeviceGetTemperatureThreshold(handle, nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)
    return Told(known("temperature_slowdown_celsius", threshold))


def _persistence_mode(handle: Handle) -> Told:
    return Told(known("persistence_mode", nvml.nvmlDeviceGetPersistenceMode(handle)))


def _pcie_generation(handle: Handle) -> Told:
    return Told(known("pcie_generation", nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle)))


def _pcie_lanes(handle: Handle) -> Told:
    return Told(known("pcie_lanes", nvml.nvmlDeviceGetCurrPcieLinkWidth(handle)))


def _pcie_generation_limit(handle: Handle) -> Told:
    return Told(known("pcie_generation_limit", nvml.nvmlDeviceGetMaxPcieLinkGeneration(handle)))


def _pcie_lanes_limit(handle: Handle) -> Told:
    return Told(known("pcie_lanes_limit", nvml.nvmlDeviceGetMaxPcieLinkWidth(handle)))


MEMORY = Call(("memory_usage_bytes", "memory_limit_bytes"), _memory)

CALLS: tuple[Call, ...] = (
    Call(("utilization_ratio", "memory_bandwidth_active_ratio"), _utilization),
    MEMORY,
    Call(("temperature_celsius",), _temperature),
    Call(("temperature_celsius",), _temperature_by_older_call),
    Call(("clock_hertz",), _clock),
    Call(("memory_clock_hertz",), _memory_clock),
    Call(("power_limit_watts",), _power_limit),
    Call(("temperature_margin_celsius",), _temperature_margin),
    Call(("pcie_generation",), _pcie_generation),
    Call(("pcie_lanes",), _pcie_lanes),
    *FABRIC,
    Call(("temperature_slowdown_celsius",), _temperature_slowdown),
    Call(("persistence_mode",), _persistence_mode),
    Call(("pcie_generation_limit",), _pcie_generation_limit),
    Call(("pcie_lanes_limit",), _pcie_lanes_limit),
    *MEMORY_FLAGS,
)
"""Beside the field values. A call is used for what nothing before it gives, neither a field nor another call."""

GIVEN = frozenset({
    "processes", "compute_active_ratio", *LINK_METRICS, *(row.metric for row in ROWS),
    *(metric for call in CALLS for metric in call.metrics),
})
"""All metrics that the nvidia reader may give."""


class ProcessLists:
    """The processes of one device, with one call a list where the binding makes two (the first for the length)."""

    def __init__(self) -> None:
        self._infos = (nvml.c_nvmlProcessInfo_v3_t * 64)()
        self._absent: set[str] = set()  # lists that the device does not have

    def ask(self, handle: Handle) -> Told:
        """Each process once. A list that cannot be read fails the whole: a partial count would be a wrong one."""
        compute = self._running(handle, "nvmlDeviceGetComputeRunningProcesses_v3")
        lists = [compute, self._running_if_any(handle, "nvmlDeviceGetGraphicsRunningProcesses_v3")]
        if compute:  # clients of MPS have a server, and that has a compute context on the device
            lists.append(self._running_if_any(handle, "nvmlDeviceGetMPSComputeRunningProcesses_v3"))
        processes = merge(lists)
        return Told({"processes": float(len(processes))}, processes)

    def _running_if_any(self, handle: Handle, name: str) -> list[Process]:
        if name in self._absent:
            return []
        try:
            return self._running(handle, name)
        except nvml.NVMLError as error:
            if error.value not in UNSUPPORTED:
                raise
            self._absent.add(name)
            return []

    def _running(self, handle: Handle, name: str) -> list[Process]:
        call = function(name)
        while True:
            count = ctypes.c_uint(len(self._infos))
            code = call(handle, ctypes.byref(count), self._infos)
            if code != nvml.NVML_ERROR_INSUFFICIENT_SIZE or count.value <= len(self._infos):
                break
            self._infos = (nvml.c_nvmlProcessInfo_v3_t * (2 * count.value))()  # more may start before the next try
        check(code)
        return [Process(info.pid, _memory_of(info.usedGpuMemory)) for info in self._infos[: count.value]]


def _memory_of(used: int) -> float | None:
    return None if used == nvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value else float(used)
