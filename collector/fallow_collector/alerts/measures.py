"""What /metrics says of alerts and notifications."""

from collections import Counter
from collections.abc import Iterator

from fallow_collector.alerts.alert import State
from fallow_collector.alerts.alerting import Alerting
from fallow_collector.alerts.rule import Severity
from fallow_collector.alerts.settings import AlertsSettings
from fallow_collector.own import Measure


def measures(alerting: Alerting, settings: AlertsSettings) -> Iterator[Measure]:
    counts = Counter((str(alert.state), alert.labels.get("severity", "")) for alert in alerting.alerts)
    for state in (State.PENDING, State.FIRING):
        for severity in Severity:
            yield Measure(
                "fallow_alerts", "gauge", "Alerts, by state and severity.",
                {"state": str(state), "severity": str(severity)}, counts[str(state), str(severity)],
            )
    yield Measure(
        "fallow_alerts_kept", "gauge", "Whether the state takes alerts: 1 or 0.", {}, float(not alerting.problem)
    )
    if alerting.evaluation is not None:
        yield Measure(
            "fallow_alerts_evaluation_seconds", "gauge", "What the last look at all rules took.", {},
            alerting.evaluation.took_s,
        )
        yield Measure(
            "fallow_alerts_rules_failing", "gauge", "Rules that could not be evaluated.", {},
            len(alerting.evaluation.problems),
        )
    for receiver in settings.receivers:
        if receiver.type != "alertmanager":  # it is told of alerts, not of notifications
            yield from _of_receiver(alerting, receiver.name)


def _of_receiver(alerting: Alerting, name: str) -> Iterator[Measure]:
    labels = {"receiver": name}
    yield Measure(
        "fallow_notifications_delivered_total", "counter", "Notifications that a receiver took.", labels,
        alerting.delivered_count[name],
    )
    yield Measure(
        "fallow_notifications_failed_total", "counter", "Attempts that failed.", labels, alerting.failed_count[name]
    )
    yield Measure(
        "fallow_notifications_dead_total", "counter", "Notifications given up.", labels, alerting.dead_count[name]
    )
    yield Measure(
        "fallow_notifications_waiting", "gauge", "Notifications that wait.", labels, alerting.waiting_count(name)
    )
