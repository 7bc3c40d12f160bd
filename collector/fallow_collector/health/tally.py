"""How much is wrong in the whole fleet, by rule: bounded, whatever codes drivers invent."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from fallow_collector.health.catalogue import find
from fallow_collector.health.incident import Incident
from fallow_collector.health.rules import ValueRule
from fallow_proto.states import EventKind


class Weighed(NamedTuple):
    """What is counted together."""

    rule: str
    severity: str
    mode: str


class Tally(NamedTuple):
    """incidents: open ones. conditions: devices of which a rule holds, every rule named. doubted: devices that rules
    would fail and that the circuit breaker holds."""

    incidents: Counter[Weighed]
    conditions: Counter[Weighed]
    doubted: int


def tally(incidents: Iterable[Incident], conditions: Iterable[tuple[ValueRule, int]], doubted: int) -> Tally:
    by_rule: Counter[Weighed] = Counter()
    for rule, devices in conditions:
        by_rule[Weighed(rule.name, rule.severity, rule.mode)] += devices
    return Tally(
        Counter(Weighed(_bounded(one.rule), one.severity, one.mode) for one in incidents), by_rule, doubted
    )


def _bounded(rule: str) -> str:
    """The rule of an incident, its code only where a catalogue has it."""
    kind, _, code = rule.partition(" ")
    if code and kind in (EventKind.XID, EventKind.SXID):
        return rule if find(kind, int(code)) is not None else f"{kind} other"
    return kind
