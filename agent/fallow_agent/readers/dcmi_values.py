"""How DCMI's answers become metrics: tables and pure functions over return codes and raw numbers."""

from collections.abc import Iterable, Mapping, Sequence

from fallow_agent.readers.dcmi_faults import Handling, handling_of
from fallow_agent.readers.dcmi_library import FUNCTION_NOT_FOUND, NOT_SUPPORTED
from fallow_proto.metrics import BY_NAME
from fallow_proto.v1.telemetry_pb2 import Reason

UNSUPPORTED = frozenset({NOT_SUPPORTED, FUNCTION_NOT_FOUND})
"""The chip has no such value; asking again is in vain until the driver changes."""

_REASONS: Mapping[int, Reason.ValueType] = {
    -8002: Reason.REASON_NOT_PERMITTED,  # OPER_NOT_PERMITTED
    -8006: Reason.REASON_TIMEOUT,  # TIME_OUT
    -8007: Reason.REASON_LOST,  # INVALID_DEVICE_ID, of one that was there
    -8008: Reason.REASON_LOST,  # DEVICE_NOT_EXIST
    -8012: Reason.REASON_TIMEOUT,  # NOT_REDAY (sic): "try again later"; for long, Huawei takes the card for dropped
    -8013: Reason.REASON_NOT_PERMITTED,  # NOT_SUPPORT_IN_CONTAINER: the chip has the value, it is not for us
}

WHOLE_CHIP = frozenset({Reason.REASON_LOST, Reason.REASON_TIMEOUT})
"""One such answer and nothing else of the chip is to be trusted, nor worth waiting for, at this tick."""

GONE = 0xFFFFFFFF
"""What dcmi_get_device_health says of a device that does not exist, and any call of a number that it does not have."""
_MINOR = 1

_NOT_AVAILABLE = frozenset({-1, GONE, 0xFFFFFFFFFFFFFFFF, 0x7FFFFFFF})

NOTHING, RESET, DRAIN_AND_RESET, NOT_NAMED = 0.0, 1.0, 4.0, 64.0
"""recovery_action, as the metric table has it."""
_ACTIONS: Mapping[Handling, float] = {
    Handling.NONE: NOTHING,
    Handling.SUB_HEALTH: NOTHING,
    Handling.RESTART_REQUEST: NOTHING,
    Handling.RESTART_JOB: NOTHING,
    Handling.RESET_WHEN_FREE: DRAIN_AND_RESET,
    Handling.RESET: RESET,
    Handling.ISOLATE: NOT_NAMED,
}
_GRAVEST = (NOTHING, DRAIN_AND_RESET, RESET, NOT_NAMED)

_MIB = 2.0**20


def reason_of(code: int) -> Reason.ValueType:
    """What a DCMI return code means for the chip that answered it."""
    return _REASONS.get(code, Reason.REASON_FAILED)


def known(metric: str, raw: float, scale: float = 1.0) -> dict[str, float]:
    """The metric in its base unit; empty when the driver says "not available" or what cannot be."""
    value = raw * scale
    limits = BY_NAME[metric]
    return {metric: value} if raw not in _NOT_AVAILABLE and limits.low <= value <= limits.high else {}


def utilization(percents: Iterable[int]) -> dict[str, float]:
    """The busiest of several units, as all of them are the chip's; not known when one of them is not."""
    ratios = [known("utilization_ratio", percent, 0.01) for percent in percents]
    if not ratios or not all(ratios):
        return {}
    return max(ratios, key=lambda ratio: ratio["utilization_ratio"])


def memory(size_mib: int, used_mib: int) -> dict[str, float]:
    """Memory there is and that is in use, the driver's own share of it included."""
    limit = known("memory_limit_bytes", size_mib, _MIB) if size_mib else {}
    return limit | known("memory_usage_bytes", used_mib, _MIB) if limit and 0 <= used_mib <= size_mib else limit


def recovery_action(health: int, codes: Sequence[int]) -> float:
    """What has to be done about a chip of this health (dcmi_get_device_health) with these faults.

    The gravest of what Huawei's own catalogue says of each fault. An alarm above minor whose fault is not in it, or
    that tells no fault at all, leaves open what helps.
    """
    handlings = [handling_of(code) for code in codes]
    actions = [_ACTIONS[handling] for handling in handlings if handling is not None]
    if health > _MINOR and (not handlings or None in handlings):
        actions.append(NOT_NAMED)
    return max(actions, key=_GRAVEST.index, default=NOTHING)


def die_name(words: Sequence[int]) -> str:
    """A die's id as Huawei's npu-exporter spells it (vdie_id); empty when the chip has none."""
    blank = all(word in (0, GONE) for word in words)
    return "" if blank else "-".join(f"{word:08X}" for word in words)
