"""The table `incident`: every open incident and every condition that holds, of rules that are enforced."""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache

import pyarrow as pa

from fallow_collector.alerts.facts import Facts
from fallow_collector.facts.columns import Column, facts
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.health.board import InForce
from fallow_collector.health.incident import Evidence, Incident
from fallow_collector.health.words import stronger, worse

_OF: dict[str, Callable[[Incident], str | float]] = {
    "node": lambda one: one.node,
    "uuid": lambda one: one.device,
    "incident_rule": lambda one: one.rule,
    "health_severity": lambda one: str(one.severity),
    "action": lambda one: str(one.action),
    "why": lambda one: one.summary,
    "evidence": lambda one: "; ".join(map(shown, one.evidence)),
    "count": lambda one: float(one.times),
}


def incidents(fleet: Fleet, in_force: InForce, site: str, wall: float, wanted: Collection[str]) -> Facts:
    """site: of an incident whose node is not known. wall: unix seconds."""
    opened = merged(in_force.incidents)
    length = len(opened) + sum(len(one.rows) for one in in_force.holding)
    who = {
        row: (fleet.identities[row].uuid, fleet.nodes[fleet.owner[row]].name)
        for one in in_force.holding for row in one.rows.tolist()
    }
    sites = {
        node.name: node.site for name in {*(node for _, node in who.values()), *(one.node for one in opened)}
        if (node := fleet.node(name)) is not None
    }

    @cache
    def every() -> Sequence[Incident]:
        return [*opened, *in_force.conditions(lambda row: who[row][0], lambda row: who[row][1], wall)]

    def column(name: str) -> Column:
        if name == "site":
            return lambda: pa.array([sites.get(one.node) or site for one in every()], pa.string())
        if name == "open_s":
            return lambda: pa.array([max(0.0, wall - one.since_ms / 1000) for one in every()], pa.float64())
        of, kind = _OF[name], pa.float64() if name == "count" else pa.string()
        return lambda: pa.array([of(one) for one in every()], kind)

    return facts(length, {name: column(name) for name in wanted})


def merged(opened: Iterable[Incident]) -> list[Incident]:
    """One of each rule on each device: of two bursts of one fault that are both open, the older, counted together."""
    found: dict[tuple[str, str, str], Incident] = {}
    for one in opened:
        key = one.node, one.device, one.rule
        other = found.get(key)
        if other is None:
            found[key] = one
            continue
        older = min(one, other, key=lambda each: each.since_ms)
        found[key] = older._replace(
            times=one.times + other.times, last_ms=max(one.last_ms, other.last_ms),
            severity=worse(one.severity, other.severity), action=stronger(one.action, other.action),
        )
    return list(found.values())


def shown(evidence: Evidence) -> str:
    what = f"{evidence.what}: {evidence.found}"
    return f"{what} (expected {evidence.threshold})" if evidence.threshold else what
