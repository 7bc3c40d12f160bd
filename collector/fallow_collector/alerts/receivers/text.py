"""A notification as people read it in a chat."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from fallow_collector.alerts.alert import Alert, State
from fallow_collector.alerts.notification import Notification

TITLE = 150
LINE = 500
"""Characters of a line; of a longer one the end is left out."""


class Text(NamedTuple):
    """lines: one an alert. link: where to see more; empty: nowhere. left_out: alerts without a line."""

    title: str
    lines: list[str]
    link: str
    left_out: int


def text_of(notification: Notification, external_url: str) -> Text:
    return Text(
        title=clipped(_title(notification), TITLE),
        lines=[_line(alert, notification.group_labels) for alert in notification.alerts],
        link=external_url,
        left_out=notification.truncated,
    )


def fitted(text: Text, size: Callable[[str], int], limit: int) -> list[str]:
    """As many of its lines as fit, then one that says how many alerts have none, then the link. size: of a line where
    it goes, with all that goes with it; the sum is at most `limit`."""
    lines = _lines(text, len(text.lines))
    if sum(map(size, lines)) <= limit:
        return lines
    room = limit - sum(map(size, _lines(text, 0)))
    fit = 0
    for line in text.lines:
        room -= size(line)
        if room < 0:
            break
        fit += 1
    return _lines(text, fit)


def clipped(text: str, most: int) -> str:
    """Its first characters, in one line."""
    one = " ".join(text.split())
    return one if len(one) <= most else one[:most - 1] + "…"


def bytes_of(text: str) -> int:
    return len(text.encode())


def _lines(text: Text, shown: int) -> list[str]:
    missing = len(text.lines) - shown + text.left_out
    tail = [f"and {missing} more that are not shown here"] if missing else []
    return [*text.lines[:shown], *tail, *([text.link] if text.link else [])]


def _title(notification: Notification) -> str:
    """As Alertmanager's own: [FIRING:3] DeviceHot default."""
    firing = sum(alert.state == State.FIRING for alert in notification.alerts)
    state, count = ("FIRING", firing) if firing else ("RESOLVED", len(notification.alerts))
    more = f", {notification.truncated} more" if notification.truncated else ""
    return " ".join([f"[{state}:{count}{more}]", *_sorted(notification.group_labels).values()])


def _line(alert: Alert, group_labels: dict[str, str]) -> str:
    what = alert.annotations.get("summary") or alert.annotations.get("description") or alert.rule
    labels = " ".join(f"{name}={value}" for name, value in _sorted(alert.labels).items()
                      if name not in group_labels and name not in ("alertname", "severity"))
    parts = [alert.state, alert.labels.get("severity", ""), what, labels, _when(alert)]
    return clipped(" · ".join(part for part in parts if part), LINE)


def _when(alert: Alert) -> str:
    if alert.state == State.RESOLVED and alert.resolved_at is not None:
        return f"at {_clock(alert.resolved_at)}"
    return f"since {_clock(alert.active_at)}"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _sorted(labels: dict[str, str]) -> dict[str, str]:
    """The name of the rule first, as Alertmanager's template.KV.SortedPairs."""
    return dict(sorted(labels.items(), key=_rank))


def _rank(label: tuple[str, str]) -> tuple[bool, str]:
    return label[0] != "alertname", label[0]
