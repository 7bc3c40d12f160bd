"""Type alertmanager: alerts are pushed to its API and renewed, as Prometheus does; it groups, silences and notifies.

Sources: prometheus/alertmanager api/v2/openapi.yaml (postableAlert); prometheus/compliance
alert_generator/specification.md (sent again each minute, resolved ones for 15 minutes); prometheus/prometheus
rules/manager.go SendAlerts (startsAt is when it fired).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from fallow_collector.alerts.alert import Alert, State
from fallow_collector.alerts.receivers.golang import instant
from fallow_collector.alerts.receivers.request import Context, Request, posted
from fallow_collector.alerts.receivers.verdict import Verdict, of_status
from fallow_collector.alerts.receivers.webhook import generator_url

RESEND_S = 60.0
LIVES_S = 4 * RESEND_S
"""A firing alert that is not renewed for so long is resolved: three renewals in a row may be lost."""

BATCH = 256
"""Alerts of one request; prometheus/prometheus notifier.go DefaultMaxBatchSize."""


class Sent(NamedTuple):
    state: State
    at_s: float


def due(alerts: Iterable[Alert], sent: Mapping[str, Sent], now_s: float) -> list[Alert]:
    """Those that are to be sent now: what was not sent yet, has changed its state, or must be renewed.

    sent: by fingerprint, what was sent last.
    """
    return [
        alert for alert in alerts
        if (last := sent.get(alert.fingerprint)) is None
        or last.state != alert.state or now_s - last.at_s >= RESEND_S
    ]


def render(alerts: Iterable[Alert], context: Context) -> Request:
    body = msgspec.json.encode([_postable(alert, context) for alert in alerts])
    return posted(context, body, url=f"{context.url.rstrip('/')}/api/v2/alerts")


def verdict(status: int, headers: dict[str, str], body: bytes) -> Verdict:
    """400 means that some of them are not valid; it has taken the others."""
    return of_status(status, headers, body)


def _postable(alert: Alert, context: Context) -> dict[str, object]:
    """A label without a value is none; an end before the start would be refused, whatever our clock did between."""
    started = alert.active_at if alert.fired_at is None else alert.fired_at
    ended = context.at + LIVES_S if alert.resolved_at is None else alert.resolved_at
    link = generator_url(context.external_url, alert.fingerprint)
    return {
        "labels": {name: value for name, value in alert.labels.items() if value},
        "annotations": alert.annotations,
        "startsAt": instant(started),
        "endsAt": instant(max(started, ended)),
        **({"generatorURL": link} if link else {}),
    }
