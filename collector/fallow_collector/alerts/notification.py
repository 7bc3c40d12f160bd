"""What one receiver is to be told of one group of alerts."""

import msgspec

from fallow_collector.alerts.alert import Alert


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """id: the same at every attempt, so that a receiver can recognise a repeat; it has no ".". alerts: firing ones
    first, at most MOST of them, `truncated` more are left out. reason: Alertmanager's words for why now. made_at: unix
    seconds."""

    id: str
    receiver: str
    group_key: str
    group_labels: dict[str, str]
    alerts: list[Alert]
    truncated: int
    reason: str
    made_at: float

    @property
    def firing(self) -> bool:
        return any(alert.state == "firing" for alert in self.alerts)
