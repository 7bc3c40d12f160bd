"""The words of a verdict. In each enumeration a later word outweighs the earlier ones."""

from enum import StrEnum


class Severity(StrEnum):
    INFO = "info"  # shown, and changes nothing
    DEGRADED = "degraded"
    FAILED = "failed"


class Action(StrEnum):
    NONE = "none"
    RESTART_APP = "restart_app"
    RESET_DEVICE = "reset_device"
    RESTART_NODE = "restart_node"
    INSPECT_HARDWARE = "inspect_hardware"
    CONTACT_VENDOR = "contact_vendor"


class Mode(StrEnum):
    SHADOW = "shadow"  # shown, and changes nothing
    ENFORCE = "enforce"


class Role(StrEnum):
    """What a code is in a burst of them."""

    FAULT = "fault"
    APPLICATION = "application"  # the program on the device is blamed first
    CLEANUP = "cleanup"  # follows on another code, and says nothing alone
    RECOVERY = "recovery"  # the driver's own word on what must be done
    LINK = "link"  # the text says how bad it is
    REGISTERS = "registers"  # the bits of registers in the text say how bad it is


_SEVERITIES, _ACTIONS = tuple(Severity), tuple(Action)


def weight(severity: Severity, action: Action) -> tuple[int, int]:
    """Orders verdicts: severity first."""
    return _SEVERITIES.index(severity), _ACTIONS.index(action)


def stronger(one: Action, other: Action) -> Action:
    return max(one, other, key=_ACTIONS.index)


def worse(one: Severity, other: Severity) -> Severity:
    return max(one, other, key=_SEVERITIES.index)
