"""What is asked of NVML, and in which order: the calls of one device at one tick, as few as there can be.

Every call may raise pynvml.NVMLError; nvml_device.py judges its code.
"""

import ctypes
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pynvml as nvml

from fallow_agent.readers.nvml_values import (
    FIELDS,
    ROWS,
    UNSUPPORTED,
    Answer,
    FieldId,
    choose,
    failure_of,
    known,
    memory_in_use,
    merge,
    settle,
)
from fallow_agent.readers.reader import Process

Handle = Any  # pynvml's c_nvmlDevice_t

_MEMBERS = {
    nvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    nvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    nvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    nvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}
_MHZ = 1e6


class Told(NamedTuple):
    values: Mapping[str, float]
    processes: tuple[Process, ...] = ()


class Call(NamedTuple):
    """What one question may give; asked, it tells or raises NVMLError."""

    metrics: tuple[str, ...]
    ask: Callable[[Handle], Told]


def fields_of(handle: Handle) -> Call:
    """All field values that the device's driver knows, in one call."""
    try:
        answers = _ask_fields(handle, FIELDS)
    except nvml.NVMLError as error:
        answers = dict.fromkeys(FIELDS, Answer(error.value))
    rows = choose(ROWS, answers)
    fields = [field for row in rows for field in row.alternatives[0]]

    def ask(handle: Handle) -> Told:
        answers = _ask_fields(handle, fields)
        values = settle(rows, answers)
        failure = failure_of((answer.code for answer in answers.values()), partial=bool(values))
        if failure is not None:
            raise nvml.NVMLError(failure)
        return Told(values)

    return Call(tuple(row.metric for row in rows), ask)


def _ask_fields(handle: Handle, fields: Iterable[FieldId]) -> dict[FieldId, Answer]:
    wanted = list(fields)
    values = nvml.nvmlDeviceGetFieldValues(handle, wanted)
    return {field: _answer(value) for field, value in zip(wanted, values, strict=True)}


def _answer(value: Any) -> Answer:
    member = _MEMBERS.get(value.valueType)
    if value.nvmlReturn != nvml.NVML_SUCCESS or member is None:
        return Answer(value.nvmlReturn)
    return Answer(nvml.NVML_SUCCESS, getattr(value.value, member))


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


CALLS: tuple[Call, ...] = (
    Call(("utilization_ratio", "memory_bandwidth_active_ratio"), _utilization),
    Call(("memory_usage_bytes", "memory_limit_bytes"), _memory),
    Call(("temperature_celsius",), _temperature),
    Call(("temperature_celsius",), _temperature_by_older_call),
    Call(("clock_hertz",), _clock),
    Call(("memory_clock_hertz",), _memory_clock),
    Call(("power_limit_watts",), _power_limit),
)
"""Beside the field values. A call is used for what nothing before it gives, neither a field nor another call."""

GIVEN = frozenset({"processes", *(row.metric for row in ROWS), *(metric for call in CALLS for metric in call.metrics)})
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

    def _running_if_any(self, handle: Handle, function: str) -> list[Process]:
        if function in self._absent:
            return []
        try:
            return self._running(handle, function)
        except nvml.NVMLError as error:
            if error.value not in UNSUPPORTED:
                raise
            self._absent.add(function)
            return []

    def _running(self, handle: Handle, function: str) -> list[Process]:
        call = getattr(nvml.nvmlLib, function, None)
        if call is None:
            raise nvml.NVMLError(nvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        while True:
            count = ctypes.c_uint(len(self._infos))
            code = call(handle, ctypes.byref(count), self._infos)
            if code != nvml.NVML_ERROR_INSUFFICIENT_SIZE or count.value <= len(self._infos):
                break
            self._infos = (nvml.c_nvmlProcessInfo_v3_t * (2 * count.value))()  # more may start before the next try
        if code != nvml.NVML_SUCCESS:
            raise nvml.NVMLError(code)
        return [Process(info.pid, _memory_of(info.usedGpuMemory)) for info in self._infos[: count.value]]


def _memory_of(used: int) -> float | None:
    return None if used == nvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value else float(used)
