"""How NVIDIA's links to other devices do: which are inactive, and what went wrong on them.

A field value is of one link (its scope); nvml.h gives sums over all links for traffic only. So each of the two
questions is one call with a field for every link that the device has.
"""

from collections.abc import Sequence

import pynvml as nvml

from fallow_agent.readers.nvml_fields import FieldValues, Handle, Told, check_answers, probe
from fallow_agent.readers.nvml_values import FieldId, Row, is_unsupported

LINK_METRICS = (
    "links", "links_inactive", "link_crc_errors_total", "link_replays_total", "link_recoveries_total",
    "link_receive_errors_total",
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


def links_of(handle: Handle) -> list[int]:
    """The numbers of the device's links, active or not."""
    states = probe(handle, [FieldId(_STATE, link) for link in _LINKS])
    return [field.scope for field, answer in states.items() if not is_unsupported(answer)]


def error_rows(handle: Handle, links: Sequence[int]) -> tuple[Row, ...]:
    """What the driver counts, each over the links that count it."""
    wanted = [FieldId(field, link) for fields in _ERRORS.values() for field in fields for link in links]
    answers = probe(handle, wanted)
    rows = []
    for metric, alternatives in _ERRORS.items():
        for field in alternatives:
            counting = tuple(each for link in links if not is_unsupported(answers[each := FieldId(field, link)]))
            if counting:
                rows.append(Row(metric, 1.0, (counting,)))
                break
    return tuple(rows)

