"""Alerts, rules, receivers and silences as the API shows them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from fallow_collector.alerts.address import shown
from fallow_collector.alerts.alert import Alert, State
from fallow_collector.alerts.alerting import Alerting
from fallow_collector.alerts.attempted import Attempted
from fallow_collector.alerts.rule import Severity
from fallow_collector.alerts.settings import AlertsSettings
from fallow_collector.alerts.silences import Silence
from fallow_collector.answers.numbers import rfc3339
from fallow_proto import alerts as api

_ORDER = {State.FIRING: 0, State.PENDING: 1, State.RESOLVED: 2}
_MILDNESS: Mapping[str, int] = {str(severity): place for place, severity in enumerate(reversed(Severity))}


class Place(NamedTuple):
    """What a list of alerts is sorted by: firing ones first, then pending, then resolved; each the worst first, and of
    these the newest."""

    state: int
    mildness: int
    age: float  # minus the unix seconds since when it is active
    fingerprint: str


def place(alert: Alert) -> Place:
    return Place(
        _ORDER[alert.state], _MILDNESS.get(alert.labels.get("severity", ""), len(_MILDNESS)), -alert.active_at,
        alert.fingerprint,
    )


def alerts(alerting: Alerting, chosen: Iterable[Alert], wall: float) -> list[api.Alert]:
    """The chosen ones, in their order."""
    silenced, inhibited = alerting.silenced_by(wall), alerting.inhibited_by()
    return [
        api.Alert(
            fingerprint=alert.fingerprint, rule=alert.rule, state=str(alert.state), labels=alert.labels,
            annotations=alert.annotations, active_since=rfc3339(alert.active_at), firing_since=_time(alert.fired_at),
            resolved_at=_time(alert.resolved_at), known=alert.known,
            silenced_by=silenced.get(alert.fingerprint, []), inhibited_by=inhibited.get(alert.fingerprint, []),
        )
        for alert in chosen
    ]


def rules(alerting: Alerting) -> list[api.AlertRule]:
    counts = Counter((alert.rule, alert.state) for alert in alerting.alerts)
    problems = alerting.evaluation.problems if alerting.evaluation else {}
    return [
        api.AlertRule(
            name=rule.name, over=rule.over, expr=rule.expr, for_s=rule.for_s, severity=str(rule.severity),
            where=rule.where, firing=counts[rule.name, State.FIRING], pending=counts[rule.name, State.PENDING],
            problem=problems.get(rule.name),
        )
        for rule in alerting.rules.values()
    ]


def receivers(
    alerting: Alerting, settings: AlertsSettings, attempted: Mapping[str, Attempted]
) -> list[api.AlertReceiver]:
    return [
        api.AlertReceiver(
            name=receiver.name, type=receiver.type, address=shown(receiver.url) if receiver.url else "in url_file",
            waiting=alerting.waiting_count(receiver.name), dead=alerting.dead_letters(receiver.name),
            delivered_at=_time(attempted[receiver.name].delivered_at),
            problem=attempted[receiver.name].problem or None,
        )
        for receiver in settings.receivers
    ]


def silences(alerting: Alerting, wall: float, sites: Collection[str] = ()) -> list[api.Silence]:
    """The newest first. sites: only what is confined to these; empty: all."""
    ordered = sorted(alerting.silences(), key=lambda each: (-each.starts_at, each.id))
    return [silence(each, wall) for each in ordered if each.keeps_to(sites)]


def silence(each: Silence, wall: float) -> api.Silence:
    return api.Silence(
        id=each.id, matchers=list(each.matchers), comment=each.comment, starts_at=rfc3339(each.starts_at),
        ends_at=rfc3339(each.ends_at), created_by=each.created_by, state=str(each.state(wall)),
    )


def _time(unix_s: float | None) -> str | None:
    return None if unix_s is None else rfc3339(unix_s)
