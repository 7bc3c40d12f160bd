"""Asks a device for many field values in one call, with NVML's own structures packed by hand.

Every call may raise pynvml.NVMLError; nvml_device.py judges its code.
"""

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple

import pynvml as nvml

from fallow_agent.readers.nvml_values import (
    Answer,
    FieldId,
    Row,
    choose,
    failure_of,
    fields_of_rows,
    is_unsupported,
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


class Told(NamedTuple):
    """assumed_wrongly: the driver does not know what was asked for while it could not be known whether it does."""

    values: Mapping[str, float]
    processes: tuple[Process, ...] = ()
    assumed_wrongly: bool = False


class Call(NamedTuple):
    """What one question may give; asked, it tells or raises NVMLError."""

    metrics: tuple[str, ...]
    ask: Callable[[Handle], Told]


def fields_of(handle: Handle, rows: Iterable[Row]) -> Call:
    """Of these rows the ones that the device's driver knows, in one call; while the device does not answer, all."""
    wanted = tuple(rows)
    probed = probe(handle, fields_of_rows(wanted))
    chosen = choose(wanted, probed)
    asked = fields_of_rows(chosen)
    assumed = tuple(field for field in asked if probed[field].code != nvml.NVML_SUCCESS)
    fields = FieldValues(asked)

    def ask(handle: Handle) -> Told:
        answers = fields.ask(handle)
        values = settle(chosen, answers)
        check_answers(answers, partial=bool(values))
        return Told(values, assumed_wrongly=any(is_unsupported(answers[field]) for field in assumed))

    return Call(tuple(row.metric for row in chosen), ask)


def check_answers(answers: Mapping[FieldId, Answer], *, partial: bool) -> None:
    """Raises NVMLError where the answers as a whole are a failure; partial: whether some values are known."""
    failure = failure_of((answer.code for answer in answers.values()), partial=partial)
    if failure is not None:
        raise nvml.NVMLError(failure)


def probe(handle: Handle, fields: Sequence[FieldId]) -> dict[FieldId, Answer]:
    """What the driver says to these; where it refuses the whole question, that of each."""
    try:
        return FieldValues(fields).ask(handle)
    except nvml.NVMLError as error:
        return dict.fromkeys(fields, Answer(error.value))


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
        check(function("nvmlDeviceGetFieldValues")(handle, len(self._fields), values))
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


def function(name: str) -> Any:
    """Of the library that the binding has loaded. Raises NVMLError where the library is older than it."""
    try:
        return getattr(nvml.nvmlLib, name)
    except AttributeError:
        raise nvml.NVMLError(nvml.NVML_ERROR_FUNCTION_NOT_FOUND) from None


def text(ask: Callable[[Handle], str], handle: Handle) -> str:
    """What a device calls itself. Raises NVMLError also for what is no text, as of a board whose memory of it is
    damaged."""
    try:
        return ask(handle)
    except UnicodeDecodeError:
        raise nvml.NVMLError(nvml.NVML_ERROR_CORRUPTED_INFOROM) from None


def check(code: int) -> None:
    if code != nvml.NVML_SUCCESS:
        raise nvml.NVMLError(code)
