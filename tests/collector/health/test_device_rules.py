"""What the shipped rules make of an accelerator's columns, each at its threshold."""

import pytest

from fallow_collector.health.words import Action, Mode, Severity
from tests.collector.health.test_host_rules import NAN, holds, rule


@pytest.mark.parametrize(("name", "values", "held"), [
    ("retired_pages", [NAN, 62, 63], [False, False, True]),
    ("memory_unrepairable", [NAN, 0, 1], [False, False, True]),
    ("sram_threshold_exceeded", [NAN, 0, 1], [False, False, True]),
    ("fabric_unhealthy", [NAN, 1, 2, 3], [False, False, True, False]),
    ("fabric_limited", [NAN, 1, 2, 3], [False, False, False, True]),
    ("fabric_bandwidth_degraded", [NAN, 0, 1, 0], [False, False, True, False]),
    ("fabric_route_unhealthy", [NAN, 0, 1, 0], [False, False, True, False]),
    ("fabric_recovering", [NAN, 0, 1, 0], [False, False, True, False]),
    ("fabric_access_recovering", [NAN, 0, 1, 0], [False, False, True, False]),
    ("fabric_misconfigured", [NAN, 0, 1, 2], [False, False, False, True]),
    ("link_symbol_errors", [0, 1e-12, 1e-12, 1e-12, 1e-12], [False] * 4 + [True]),
    ("link_effective_errors", [NAN, 0, 0, 0, 0], [False] * 5),
    ("power_unreadable", [NAN, 0, 1, 1, 0], [False, False, False, True, False]),
    ("power_brake_often", [*range(7), 6], [False] * 6 + [True] * 2),
    ("power_brake_often", [*range(6), 5, 6, 6, 6, 6, 6], [False] * 7 + [True] * 4 + [False]),
    ("power_brake_often", [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3], [False] * 12),
    ("throttled_by_heat_often", range(8), [False] * 6 + [True] * 2),
])
def test_a_rule_of_accelerators_holds_from_its_threshold_on(
    name: str, values: list[float], held: list[bool]
) -> None:
    assert holds(rule(name), values) == held


@pytest.mark.parametrize(("name", "severity", "action", "mode"), [
    ("retired_pages", Severity.FAILED, Action.CONTACT_VENDOR, Mode.ENFORCE),
    ("memory_unrepairable", Severity.FAILED, Action.CONTACT_VENDOR, Mode.ENFORCE),
    ("sram_threshold_exceeded", Severity.FAILED, Action.CONTACT_VENDOR, Mode.ENFORCE),
    ("fabric_unhealthy", Severity.DEGRADED, Action.RESET_DEVICE, Mode.ENFORCE),
    ("fabric_limited", Severity.INFO, Action.INSPECT_HARDWARE, Mode.ENFORCE),
    ("fabric_bandwidth_degraded", Severity.DEGRADED, Action.INSPECT_HARDWARE, Mode.ENFORCE),
    ("fabric_route_unhealthy", Severity.DEGRADED, Action.RESET_DEVICE, Mode.ENFORCE),
    ("fabric_recovering", Severity.INFO, Action.NONE, Mode.ENFORCE),
    ("fabric_access_recovering", Severity.INFO, Action.NONE, Mode.ENFORCE),
    ("fabric_misconfigured", Severity.DEGRADED, Action.INSPECT_HARDWARE, Mode.ENFORCE),
    ("link_symbol_errors", Severity.DEGRADED, Action.INSPECT_HARDWARE, Mode.SHADOW),
    ("link_effective_errors", Severity.DEGRADED, Action.INSPECT_HARDWARE, Mode.SHADOW),
    ("power_unreadable", Severity.INFO, Action.RESET_DEVICE, Mode.ENFORCE),
    ("power_brake_often", Severity.DEGRADED, Action.INSPECT_HARDWARE, Mode.ENFORCE),
    ("throttled_by_heat_often", Severity.DEGRADED, Action.INSPECT_HARDWARE, Mode.SHADOW),
])
def test_what_a_rule_of_accelerators_asks_for(name: str, severity: Severity, action: Action, mode: Mode) -> None:
    found = rule(name)
    assert (found.severity, found.action, found.mode) == (severity, action, mode)
