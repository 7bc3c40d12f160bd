"""How NVIDIA's links to other devices do: which are inactive, and what went wrong on them.

A field value is of one link (its scope); nvml.h gives sums over all links for traffic only. So each of the two
questions is one call with a field for every link that the device has.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isnan

import pynvml as nvml

from fallow_agent.readers.nvml_fields import FieldValues, Handle, Told, check_answers, probe
from fallow_agent.readers.nvml_values import (
    Answer,
    FieldId,
    Row,
    error_ratio,
    fields_of_rows,
    is_unsupported,
    known,
    settle,
)

LINK_METRICS = (
    "links", "links_inactive", "link_crc_errors_total", "link_replays_total", "link_recoveries_total",
    "link_receive_errors_total", "link_symbol_error_ratio", "link_effective_error_ratio",
)

_LINKS = range(nvml.NVML_NVLINK_MAX_LINKS)
_STATE = nvml.NVML_FI_DEV_NVLINK_GET_STATE
# A link that sleeps wakes up when there is traffic.
_USABLE = frozenset({nvml.NVML_NVLINK_STATE_ACTIVE, nvml.NVML_NVLINK_STATE_SLEEP})
# The first field that the driver knows; NVLink 5 has others than those before it.
_ERRORS = {
    "link_crc_errors_total": (nvml.NVML_FI_DEV_NVLINK_ERROR_DL_CRC,),
    "link_replays_total": (nvml.NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY,),
    "link_recoveries_total": (
        nvml.NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS, nvml.NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY,
    ),
    "link_receive_errors_total": (nvml.NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS,),
}
_RATIOS = {
    "link_symbol_error_ratio": nvml.NVML_FI_DEV_NVLINK_COUNT_SYMBOL_BER,
    "link_effective_error_ratio": nvml.NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_BER,
}


class LinkStates:
    """Of the links that a device has."""

    def __init__(self, links: Sequence[int]) -> None:
        self._fields = FieldValues([FieldId(_STATE, link) for link in links])

    def ask(self, handle: Handle) -> Told:
        """Where one link does not tell, the number of inactive ones is not known."""
        told = self._fields.ask(handle)
        # Of a device that was lost when it was opened, all links were assumed.
        answers = {field: answer for field, answer in told.items() if not is_unsupported(answer)}
        states = [answer.value for answer in answers.values() if answer.value is not None]
        values = {"links": float(len(answers))}
        if len(states) == len(answers):
            values["links_inactive"] = float(sum(state not in _USABLE for state in states))
        check_answers(answers, partial=bool(states))
        return Told(values)


class LinkErrors:
    """What the driver counts, each over the links that count it; and of error ratios the worst link's."""

    def __init__(self, handle: Handle, links: Sequence[int]) -> None:
        """Find out which. Raises nothing: where the device does not answer just now, all links are assumed."""
        numbers = [*(field for fields in _ERRORS.values() for field in fields), *_RATIOS.values()]
        answers = probe(handle, [FieldId(number, link) for number in numbers for link in links])
        self._rows = tuple(_counted(answers, links))
        telling = {metric: _telling(answers, number, links) for metric, number in _RATIOS.items()}
        self._ratios = {metric: fields for metric, fields in telling.items() if fields}
        self._fields = FieldValues(dict.fromkeys(
            [*fields_of_rows(self._rows), *(field for fields in self._ratios.values() for field in fields)]
        ))
        self.metrics = (*(row.metric for row in self._rows), *self._ratios)

    def ask(self, handle: Handle) -> Told:
        """Where one link does not tell, neither the sum nor the worst is known."""
        answers = self._fields.ask(handle)
        values = settle(self._rows, answers)
        for metric, fields in self._ratios.items():
            values |= _worst(metric, [answers[field].value for field in fields])
        check_answers(answers, partial=bool(values))
        return Told(values)


def _counted(answers: Mapping[FieldId, Answer], links: Sequence[int]) -> Iterator[Row]:
    for metric, alternatives in _ERRORS.items():
        for number in alternatives:
            if counting := _telling(answers, number, links):
                yield Row(metric, 1.0, (counting,))
                break


def _telling(answers: Mapping[FieldId, Answer], number: int, links: Sequence[int]) -> tuple[FieldId, ...]:
    """Of a field those links that have it."""
    fields = [FieldId(number, link) for link in links]
    return tuple(field for field in fields if not is_unsupported(answers[field]))


def _worst(metric: str, said: Sequence[float | None]) -> dict[str, float]:
    ratios = [error_ratio(raw) for raw in said if raw is not None]
    if len(ratios) < len(said) or any(isnan(ratio) for ratio in ratios):
        return {}
    return known(metric, max(ratios))


def links_of(handle: Handle) -> list[int]:
    """The numbers of the device's links, active or not."""
    states = probe(handle, [FieldId(_STATE, link) for link in _LINKS])
    return [field.scope for field, answer in states.items() if not is_unsupported(answer)]
