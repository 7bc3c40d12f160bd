"""How NVML's answers become metrics: tables and pure functions over return codes and raw numbers.

Names, units and meanings are those of nvml.h 13; nothing here calls the library.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import nan
from typing import NamedTuple

import pynvml as nvml

from fallow_agent.readers.reader import Process
from fallow_proto.metrics import BY_NAME, Group
from fallow_proto.v1.telemetry_pb2 import Reason

UNSUPPORTED = frozenset({
    nvml.NVML_ERROR_NOT_SUPPORTED,
    nvml.NVML_ERROR_FUNCTION_NOT_FOUND,  # a library older than the call
    nvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,  # a library older than the structure
    nvml.NVML_ERROR_DEPRECATED,  # a library that gave the call up
})
"""The device or its driver declares that there is no such value; asking again is in vain until the driver changes."""

_FIELD_UNSUPPORTED = UNSUPPORTED | {nvml.NVML_ERROR_INVALID_ARGUMENT}  # a driver older than the field

_REASONS: Mapping[int, Reason.ValueType] = {
    nvml.NVML_SUCCESS: Reason.REASON_OK,
    nvml.NVML_ERROR_NO_PERMISSION: Reason.REASON_NOT_PERMITTED,
    nvml.NVML_ERROR_TIMEOUT: Reason.REASON_TIMEOUT,
    nvml.NVML_ERROR_IRQ_ISSUE: Reason.REASON_TIMEOUT,
    nvml.NVML_ERROR_GPU_IS_LOST: Reason.REASON_LOST,
    nvml.NVML_ERROR_GPU_NOT_FOUND: Reason.REASON_LOST,
    nvml.NVML_ERROR_RESET_REQUIRED: Reason.REASON_RESET_REQUIRED,
    nvml.NVML_ERROR_UNINITIALIZED: Reason.REASON_DRIVER,
    nvml.NVML_ERROR_DRIVER_NOT_LOADED: Reason.REASON_DRIVER,
    nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: Reason.REASON_DRIVER,
}

WHOLE_DEVICE = frozenset({Reason.REASON_LOST, Reason.REASON_RESET_REQUIRED, Reason.REASON_TIMEOUT})
"""One such answer and nothing else of the device is to be trusted, nor worth waiting for, at this tick."""


def reason_of(code: int) -> Reason.ValueType:
    """What an nvmlReturn_t means for the device that answered it."""
    return _REASONS.get(code, Reason.REASON_FAILED)


# NVML_VALUE_NOT_AVAILABLE is (-1), which reads as all ones in the unsigned type that carries it.
_NOT_AVAILABLE = frozenset({-1, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF})


def known(metric: str, raw: float, scale: float = 1.0) -> dict[str, float]:
    """The metric in its base unit; empty when the driver says "not available" or what cannot be."""
    value = raw * scale
    limits = BY_NAME[metric]
    return {metric: value} if raw not in _NOT_AVAILABLE and limits.low <= value <= limits.high else {}


class FieldId(NamedTuple):
    field: int
    scope: int = 0


class Answer(NamedTuple):
    """One nvmlFieldValue_t: its own nvmlReturn, and its value where that is a success."""

    code: int
    value: float | None = None


def is_unsupported(answer: Answer) -> bool:
    return answer.code in _FIELD_UNSUPPORTED


class Row(NamedTuple):
    """A metric out of field values: the first alternative that the driver knows, its fields added up."""

    metric: str
    scale: float
    alternatives: tuple[tuple[FieldId, ...], ...]


_ALL_LINKS = 0xFFFFFFFF  # "A scopeId of UINT_MAX returns aggregate value summed up across all links"
_GPU_TEMPERATURE = 308  # NVML_FI_DEV_GPU_TEMP, degrees as a double; newer than the binding's own list

# PCIe bytes (197, 198) are left out: "Value can be wrapped", and what boards print stays below 2^32
# (NVIDIA/dcgm-exporter issue 721), which a PCIe 5 link passes 15 times a second.
ROWS: tuple[Row, ...] = (
    # The average of the last second, where the instant is not known: it says the same, a second late.
    Row("power_watts", 1e-3, (
        (FieldId(nvml.NVML_FI_DEV_POWER_INSTANT),), (FieldId(nvml.NVML_FI_DEV_POWER_AVERAGE),),
    )),
    Row("energy_joules_total", 1e-3, ((FieldId(nvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION),),)),
    Row("temperature_celsius", 1.0, ((FieldId(_GPU_TEMPERATURE),),)),
    Row("memory_temperature_celsius", 1.0, ((FieldId(nvml.NVML_FI_DEV_MEMORY_TEMP),),)),
    Row("throttle_power_seconds_total", 1e-9, ((FieldId(nvml.NVML_FI_DEV_PERF_POLICY_POWER),),)),
    # Software and hardware slowdown together, so that neither is missed; a moment in which both act counts twice.
    Row("throttle_thermal_seconds_total", 1e-9, (
        (
            FieldId(nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN),
            FieldId(nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN),
        ),
        (FieldId(nvml.NVML_FI_DEV_PERF_POLICY_THERMAL),),
    )),
    Row("pcie_replays_total", 1.0, ((FieldId(nvml.NVML_FI_DEV_PCIE_REPLAY_COUNTER),),)),
    Row("link_receive_bytes_total", 1024.0, ((FieldId(nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, _ALL_LINKS),),)),
    Row("link_transmit_bytes_total", 1024.0, ((FieldId(nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, _ALL_LINKS),),)),
    Row("recovery_action", 1.0, ((FieldId(nvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION),),)),
    # Medium
    Row("throttle_brake_seconds_total", 1e-9, (
        (FieldId(nvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN),),
    )),
    Row("ecc_corrected_total", 1.0, ((FieldId(nvml.NVML_FI_DEV_ECC_SBE_VOL_TOTAL),),)),
    Row("ecc_uncorrected_total", 1.0, ((FieldId(nvml.NVML_FI_DEV_ECC_DBE_VOL_TOTAL),),)),
    # Slow
    Row("power_limit_default_watts", 1e-3, ((FieldId(nvml.NVML_FI_DEV_POWER_DEFAULT_LIMIT),),)),
    Row("ecc_corrected_lifetime_total", 1.0, ((FieldId(nvml.NVML_FI_DEV_ECC_SBE_AGG_TOTAL),),)),
    Row("ecc_uncorrected_lifetime_total", 1.0, ((FieldId(nvml.NVML_FI_DEV_ECC_DBE_AGG_TOTAL),),)),
    Row("remapped_rows_corrected", 1.0, ((FieldId(nvml.NVML_FI_DEV_REMAPPED_COR),),)),
    Row("remapped_rows_uncorrected", 1.0, ((FieldId(nvml.NVML_FI_DEV_REMAPPED_UNC),),)),
    Row("remap_pending", 1.0, ((FieldId(nvml.NVML_FI_DEV_REMAPPED_PENDING),),)),
    Row("remap_failed", 1.0, ((FieldId(nvml.NVML_FI_DEV_REMAPPED_FAILURE),),)),
    Row("retired_pages_corrected", 1.0, ((FieldId(nvml.NVML_FI_DEV_RETIRED_SBE),),)),
    Row("retired_pages_uncorrected", 1.0, ((FieldId(nvml.NVML_FI_DEV_RETIRED_DBE),),)),
    Row("retired_pages", 1.0, ((FieldId(nvml.NVML_FI_DEV_RETIRED_SBE), FieldId(nvml.NVML_FI_DEV_RETIRED_DBE)),)),
    Row("retirement_pending", 1.0, ((FieldId(nvml.NVML_FI_DEV_RETIRED_PENDING),),)),
)


def rows_of(group: Group) -> tuple[Row, ...]:
    return tuple(row for row in ROWS if BY_NAME[row.metric].group is group)


def fields_of_rows(rows: Iterable[Row]) -> tuple[FieldId, ...]:
    """Of all alternatives, each once."""
    return tuple(dict.fromkeys(field for row in rows for fields in row.alternatives for field in fields))


def choose(rows: Iterable[Row], answers: Mapping[FieldId, Answer]) -> tuple[Row, ...]:
    """The rows that a device has, each with the one alternative that its driver knows."""
    chosen = []
    for row in rows:
        for fields in row.alternatives:
            if not any(is_unsupported(answers[field]) for field in fields):
                chosen.append(row._replace(alternatives=(fields,)))
                break
    return tuple(chosen)


def settle(rows: Iterable[Row], answers: Mapping[FieldId, Answer]) -> dict[str, float]:
    """Metrics of chosen rows. Where one of several fields is not known, neither is their sum."""
    values: dict[str, float] = {}
    for metric, scale, (fields,) in rows:
        parts = [value for field in fields if (value := answers[field].value) is not None]
        if len(parts) == len(fields) and _NOT_AVAILABLE.isdisjoint(parts):
            values |= known(metric, sum(parts), scale)
    return values


def error_ratio(raw: float) -> float:
    """A bit error rate of NVLink 5 as a ratio; NaN: that cannot be one.

    nvml.h: the exponent in bits 0 to 7, the mantissa in bits 8 to 11; together mantissa × 10^-exponent (DCGM's
    NvmlBerParser). A sound link says 15 and 255.
    """
    if not 0 <= raw <= 0xFFF or raw != int(raw):
        return nan
    return (int(raw) >> 8) * 10.0 ** -(int(raw) & 0xFF)


def failure_of(codes: Iterable[int], *, partial: bool) -> int | None:
    """The code for which a call of many answers counts as failed; None: it does not.

    With a part of the values known, only what concerns the whole device or its driver is a failure.
    """
    failed = [code for code in codes if code != nvml.NVML_SUCCESS]
    grave = [code for code in failed if reason_of(code) in WHOLE_DEVICE | {Reason.REASON_DRIVER}]
    return next(iter(grave or ([] if partial else failed)), None)


def memory_in_use(total: int, reserved: int, free: int, used: int) -> int:
    """Bytes that someone allocated, without what driver and firmware keep for themselves.

    nvml.h contradicts itself: nvmlMemory_v2_t.used is "allocated device memory" beside `reserved`, and
    nvmlDeviceGetMemoryInfo_v2 "includes [reserved] in the used memory amount". Boards print
    total = reserved + used + free (telegraf's nvidia_smi captures of A100, T4, RTX 3080 and 3090); one that prints
    total = used + free means the other.
    """
    return used - reserved if used + free >= total else used


def merge(lists: Iterable[Sequence[Process]]) -> tuple[Process, ...]:
    """Processes of several lists, each once, by pid.

    A process that several lists name has in each the memory of all its contexts, so the largest counts; several
    entries in one list (one for each partition) add up. Memory that one of them does not know is not known.
    """
    most: dict[int, float | None] = {}
    for processes in lists:
        parts: defaultdict[int, list[float | None]] = defaultdict(list)
        for pid, memory_bytes in processes:
            parts[pid].append(memory_bytes)
        for pid, amounts in parts.items():
            known_amounts = [amount for amount in amounts if amount is not None]
            memory = sum(known_amounts) if len(known_amounts) == len(amounts) else None
            before = most.get(pid, 0.0)
            most[pid] = None if memory is None or before is None else max(before, memory)
    return tuple(Process(pid, most[pid]) for pid in sorted(most))
