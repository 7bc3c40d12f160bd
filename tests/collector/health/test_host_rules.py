"""What the shipped rules make of a host's columns, each at its threshold."""

import numpy as np
import pytest

from fallow_collector.health.conditions import Conditions, Facts
from fallow_collector.health.rules import ValueRule, shipped
from fallow_collector.health.words import Action, Mode, Severity

MINUTE_MS = 60_000


def rule(name: str) -> ValueRule:
    found, = (each for each in shipped().value if each.name == name)
    return found


def holds(one: ValueRule, values: list[float]) -> list[bool]:
    """At the n-th minute with the n-th value."""
    conditions = Conditions([one])
    held = []
    for minute, value in enumerate(values, start=1):
        conditions.step(Facts(
            {one.column: np.array([value])}, np.array([minute * MINUTE_MS]), np.zeros(1, dtype=np.uint64),
            np.zeros(1, dtype=np.int64), ["Xeon"],
        ), minute * MINUTE_MS)
        held.append(bool(list(conditions.of_row(0, minute * MINUTE_MS))))
    return held


NAN = float("nan")


@pytest.mark.parametrize(("name", "values", "held"), [
    ("ports_down", [0, 1, 1, 1, 1, 1, 0], [False] * 5 + [True, False]),
    ("ports_down", [1, 1, 0, 1, 1, 1], [False] * 6),
    ("ports_down", [NAN] * 6, [False] * 6),
    ("port_links_flap", [7, 7, 8, 8], [False, False, True, False]),
    ("port_errors", [0, 600, 1_201], [False, False, True]),
    ("driver_blocked", [NAN, 0, 1, 0], [False, False, True, False]),
    ("tasks_blocked", [0, 2, 0], [False, True, False]),
    ("memory_ran_out", [3, 3, 4, 4], [False, False, True, False]),
    ("var_read_only", [0, 1, 0], [False, True, False]),
    ("root_full", [0.02, 0.019, 0.5, NAN], [False, True, False, False]),
    ("var_full", [0.02, 0.019, 0.5, NAN], [False, True, False, False]),
    ("network_mounts_down", [0, 1, 1, 1, 0], [False, False, False, True, False]),
])
def test_a_rule_of_the_host_holds_from_its_threshold_on(name: str, values: list[float], held: list[bool]) -> None:
    assert holds(rule(name), values) == held


@pytest.mark.parametrize(("name", "severity", "action", "mode"), [
    ("ports_down", Severity.DEGRADED, Action.INSPECT_HARDWARE, Mode.ENFORCE),
    ("port_links_flap", Severity.INFO, Action.INSPECT_HARDWARE, Mode.ENFORCE),
    ("port_errors", Severity.DEGRADED, Action.INSPECT_HARDWARE, Mode.SHADOW),
    ("driver_blocked", Severity.DEGRADED, Action.RESTART_NODE, Mode.ENFORCE),
    ("tasks_blocked", Severity.INFO, Action.NONE, Mode.ENFORCE),
    ("memory_ran_out", Severity.INFO, Action.RESTART_APP, Mode.ENFORCE),
    ("var_read_only", Severity.DEGRADED, Action.INSPECT_HARDWARE, Mode.ENFORCE),
    ("root_full", Severity.INFO, Action.NONE, Mode.ENFORCE),
    ("var_full", Severity.INFO, Action.NONE, Mode.ENFORCE),
    ("network_mounts_down", Severity.DEGRADED, Action.NONE, Mode.ENFORCE),
])
def test_what_a_rule_of_the_host_asks_for(name: str, severity: Severity, action: Action, mode: Mode) -> None:
    found = rule(name)
    assert (found.severity, found.action, found.mode) == (severity, action, mode)
