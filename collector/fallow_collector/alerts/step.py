"""What the alerts become by one evaluation.

                 holds for for_s               does not hold for keep_s
    ─► PENDING ─────────────────► FIRING ───────────────────────────► RESOLVED ─► forgotten
          │                         ▲ unknown: stays, known = False       │
          └─► dropped: no more      └─────────────────────────────────────┘ holds again: a new alert

Not known is neither: a pending alert waits, and its for_s begins anew when the rule is seen to hold again; a firing one
is not resolved by ignorance. One whose row is gone from a table that was looked at no longer holds. One whose rule was
not evaluated stays as it is; one whose rule is no longer configured is resolved.
"""

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass

import msgspec

from fallow_collector.alerts.alert import Alert, State
from fallow_collector.alerts.evaluation import Evaluation, Held, Outcome
from fallow_collector.alerts.rule import Rule

RESOLVED_KEPT_S = 900.0
"""Prometheus' resolvedRetention: so long a resolve is sent again to an Alertmanager that may have missed it."""


@dataclass(frozen=True, slots=True, eq=False)
class Stepped:
    """alerts: all of them now, by fingerprint. changed: those to be kept on disk, None: to be forgotten. What is said
    of a row, and whether it is known, is made anew by the next evaluation and is not among them."""

    alerts: dict[str, Alert]
    changed: dict[str, Alert | None]


def step(
    alerts: Mapping[str, Alert], evaluation: Evaluation, rules: Mapping[str, Rule], owed: Container[str], now_s: float,
    wall: float,
) -> Stepped:
    """owed: fingerprints of resolved alerts of which somebody is still to be told; these are not forgotten. now_s:
    seconds of the alerts' own clock; wall: unix seconds, for people."""
    after, changed = dict(alerts), dict[str, Alert | None]()
    of_rule: dict[str, list[Alert]] = {}
    for alert in alerts.values():
        of_rule.setdefault(alert.rule, []).append(alert)
    for name, outcome in evaluation.outcomes.items():
        rule = rules.get(name)
        if rule is not None:
            _one_rule(rule, outcome, of_rule.get(name, ()), after, changed, now_s, wall)
    for alert in alerts.values():
        if alert.state is State.RESOLVED and now_s - alert.since_s >= RESOLVED_KEPT_S:
            if after.get(alert.fingerprint) is alert and alert.fingerprint not in owed:
                _put(alert.fingerprint, None, after, changed)
        elif alert.rule not in rules and alert.state is not State.RESOLVED:
            _put(alert.fingerprint, _ended(alert, now_s, wall), after, changed)
    return Stepped(after, changed)


def _one_rule(
    rule: Rule, outcome: Outcome, there: Collection[Alert], after: dict[str, Alert], changed: dict[str, Alert | None],
    now_s: float, wall: float,
) -> None:
    held = set()
    for row in outcome.held:
        held.add(row.fingerprint)
        alert = after.get(row.fingerprint)
        holding = _holds(alert, row, rule, now_s, wall)
        if holding is not alert:
            _put(row.fingerprint, holding, after, changed, on_disk=alert is None or _moved(alert, holding))
    for alert in there:
        if alert.fingerprint in held or alert.state is State.RESOLVED:
            continue
        known = alert.fingerprint not in outcome.unknown
        absent = _is_over(alert, rule, now_s, wall) if known else _is_unknown(alert)
        if absent is not alert:
            _put(alert.fingerprint, absent, after, changed, on_disk=absent is None or _moved(alert, absent))


def _holds(alert: Alert | None, row: Held, rule: Rule, now_s: float, wall: float) -> Alert:
    if alert is None or alert.state is State.RESOLVED:
        alert = Alert(
            fingerprint=row.fingerprint, rule=rule.name, state=State.PENDING, labels=dict(row.labels),
            annotations=dict(row.annotations), active_at=wall, since_s=now_s,
        )
    elif alert.state is State.PENDING and not alert.known:
        alert = msgspec.structs.replace(alert, since_s=now_s, active_at=wall)
    if not alert.known or alert.quiet_s is not None or alert.annotations != row.annotations:
        alert = msgspec.structs.replace(alert, known=True, quiet_s=None, annotations=dict(row.annotations))
    if alert.state is State.PENDING and now_s - alert.since_s >= rule.for_s:
        alert = msgspec.structs.replace(
            alert, state=State.FIRING, since_s=now_s, fired_at=max(wall, alert.active_at)
        )
    return alert


def _is_unknown(alert: Alert) -> Alert:
    if alert.known or alert.quiet_s is not None:
        return msgspec.structs.replace(alert, known=False, quiet_s=None)
    return alert


def _is_over(alert: Alert, rule: Rule, now_s: float, wall: float) -> Alert | None:
    quiet_s = now_s if alert.quiet_s is None else alert.quiet_s
    if alert.state is State.PENDING or now_s - quiet_s >= rule.keep_s:
        return _ended(alert, now_s, wall)
    if alert.known and alert.quiet_s is not None:
        return alert
    return msgspec.structs.replace(alert, known=True, quiet_s=quiet_s)


def _ended(alert: Alert, now_s: float, wall: float) -> Alert | None:
    """None: it never fired. Receivers refuse an alert that ends before it began, so it does not, whatever the wall
    clock did."""
    if alert.state is State.PENDING:
        return None
    began = alert.active_at if alert.fired_at is None else alert.fired_at
    return msgspec.structs.replace(
        alert, state=State.RESOLVED, since_s=now_s, resolved_at=max(wall, began), quiet_s=None, known=True
    )


def _moved(before: Alert, after: Alert) -> bool:
    return (before.state, before.since_s, before.quiet_s) != (after.state, after.since_s, after.quiet_s)


def _put(
    fingerprint: str, alert: Alert | None, after: dict[str, Alert], changed: dict[str, Alert | None],
    on_disk: bool = True,
) -> None:
    if alert is None:
        del after[fingerprint]
    else:
        after[fingerprint] = alert
    if on_disk:
        changed[fingerprint] = alert
