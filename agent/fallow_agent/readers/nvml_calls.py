"""What is asked of NVML, and in which order: the calls of one device at one tick, as few as there can be.

Every call may raise pynvml.NVMLError; nvml_device.py judges its code.
"""

import ctypes
from collections.abc import Callable, Iterable, Mapping
from struct import Struct
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

# nvmlFieldValue_t and the members of its nvmlValue_t, as nvml.h has them. The binding's own structures cost 50 µs a
# device and second, most of it in Python code that runs at each access of a member.
_FIELD_VALUE = Struct("@IIqqII8s")  # fieldId, scopeId, timestamp, latencyUsec, valueType, nvmlReturn, value
_VALUES = {
    nvml.NVML_VALUE_TYPE_DOUBLE: Struct("@d"),
    nvml.NVML_VALUE_TYPE_UNSIGNED_INT: Struct("@I"),
    nvml.NVML_VALUE_TYPE_UNSIGNED_LONG: Struct("@L"),
    nvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: Struct("@Q"),
    nvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: Struct("@q"),
    nvml.NVML_VALUE_TYPE_SIGNED_INT: Struct("@i"),
    nvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: Struct("@H"),
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
        answers = FieldValues(FIELDS).ask(handle)
    except nvml.NVMLError as error:
        answers = dict.fromkeys(FIELDS, Answer(error.value))
    rows = choose(ROWS, answers)
    fields = FieldValues([field for row in rows for field in row.alternatives[0]])

    def ask(handle: Handle) -> Told:
        answers = fields.ask(handle)
        values = settle(rows, answers)
        failure = failure_of((answer.code for answer in answers.values()), partial=bool(values))
        if failure is not None:
            raise nvml.NVMLError(failure)
        return Told(values)

    return Call(tuple(row.metric for row in rows), ask)


class FieldValues:
    """Several field values of a device in one call."""

    def __init__(self, fields: Iterable[FieldId]) -> None:
        self._fields = tuple(fields)
        # What the driver leaves as it was is a value that it did not give.
        self._question = b"".join(
            _FIELD_VALUE.pack(field, scope, 0, 0, 0, nvml.NVML_ERROR_UNKNOWN, b"") for field, scope in self._fields
        )

    def ask(self, handle: Handle) -> dict[FieldId, Answer]:
        values = ctypes.create_string_buffer(self._question, len(self._question))
        _check(_function("nvmlDeviceGetFieldValues")(handle, len(self._fields), values))
        return {
            field: _answer(kind, code, value)
            for field, (_, _, _, _, kind, code, value) in zip(
                self._fields, _FIELD_VALUE.iter_unpack(values), strict=True
            )
        }


def _answer(kind: int, code: int, value: bytes) -> Answer:
    member = _VALUES.get(kind)
    if code != nvml.NVML_SUCCESS or member is None:
        return Answer(code)
    return Answer(code, member.unpack_from(value)[0])


def _function(name: str) -> Any:
    """Of the library that the binding has loaded. Raises NVMLError where the library is older than it."""
    try:
        return getattr(nvml.nvmlLib, name)
    except AttributeError:
        raise nvml.NVMLError(nvml.NVML_ERROR_FUNCTION_NOT_FOUND) from None


def _check(code: int) -> None:
    if code != nvml.NVML_SUCCESS:
        raise nvml.NVMLError(code)


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
        call = _function(function)
        while True:
            count = ctypes.c_uint(len(self._infos))
            code = call(handle, ctypes.byref(count), self._infos)
            if code != nvml.NVML_ERROR_INSUFFICIENT_SIZE or count.value <= len(self._infos):
                break
            self._infos = (nvml.c_nvmlProcessInfo_v3_t * (2 * count.value))()  # more may start before the next try
        _check(code)
        return [Process(info.pid, _memory_of(info.usedGpuMemory)) for info in self._infos[: count.value]]


def _memory_of(used: int) -> float | None:
    return None if used == nvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value else float(used)
