"""A notification out of what is to be told."""

from collections.abc import Collection, Iterable, Mapping
from heapq import nsmallest

from fallow_collector.alerts.alert import Alert
from fallow_collector.alerts.notification import Notification
from fallow_collector.alerts.plan import Draft
from fallow_collector.alerts.rule import Severity

MOST = 200
"""Alerts in one notification: some 200 kB at most, well below what receivers take; the rest is counted."""

_RANK = {str(severity): rank for rank, severity in enumerate(reversed(Severity))}


def compose(
    draft: Draft, alerts: Mapping[str, Alert], heard: Collection[str], *, notification_id: str, receiver: str,
    group_key: str, group_labels: dict[str, str], made_at: float,
) -> Notification:
    """heard: fingerprints of what the receiver was told as firing before; the news comes first."""
    firing = _first(((each not in heard, alerts[each]) for each in draft.firing), MOST)
    resolved = _first(((True, alerts[each]) for each in draft.resolved), MOST - len(firing))
    return Notification(
        id=notification_id, receiver=receiver, group_key=group_key, group_labels=group_labels,
        alerts=[*firing, *resolved],
        truncated=len(draft.firing) + len(draft.resolved) - len(firing) - len(resolved), reason=draft.reason,
        made_at=made_at,
    )


def _first(alerts: Iterable[tuple[bool, Alert]], most: int) -> list[Alert]:
    """The news, then the graver, then the older."""
    def order(each: tuple[bool, Alert]) -> tuple[bool, int, float, str]:
        new, alert = each
        return not new, _RANK.get(alert.labels.get("severity", ""), len(_RANK)), alert.active_at, alert.fingerprint

    return [alert for _, alert in nsmallest(most, alerts, key=order)]
