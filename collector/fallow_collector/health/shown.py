"""A condition as people see it: an incident with its value as evidence."""

from math import isnan

from fallow_collector.health.conditions import Held
from fallow_collector.health.incident import Evidence, Incident, incident_id
from fallow_collector.health.rules import ValueRule


def of_condition(held: Held, node: str, uuid: str, wall: float) -> Incident:
    """wall: unix seconds."""
    rule = held.rule
    return Incident(
        incident_id(rule.name, uuid, str(held.since_ms)), rule.name, node, uuid, rule.severity, rule.action, rule.mode,
        held.since_ms, round(wall * 1000), 1, rule.why, (_evidence(held),),
    )


def _evidence(held: Held) -> Evidence:
    rule = held.rule
    if rule.reason:
        return Evidence(rule.reason, "so it is judged")
    value = "not read since the start" if isnan(held.value) else f"{held.value:g}{_unit(rule)}"
    return Evidence(rule.column, value, _threshold(rule, held.limit))


def _unit(rule: ValueRule) -> str:
    if rule.often is not None:
        return f" of {rule.often.minutes} minutes"
    return " a minute" if rule.per else ""


def _threshold(rule: ValueRule, limit: float) -> str:
    if rule.equals is not None:
        return "not one of " + ", ".join(f"{each:g}" for each in rule.equals)
    return f"at {'least' if rule.below is not None else 'most'} {limit:g}{_unit(rule)}"
