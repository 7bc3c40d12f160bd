"""An outbox in memory, and what is put into it."""

from dataclasses import dataclass, field

from fallow_collector.alerts.alert import Alert, State, fingerprint
from fallow_collector.alerts.notification import Notification
from fallow_collector.alerts.outbox import Waiting

START = 1_700_000_000.0


def alert(number: int = 1, state: State = State.FIRING, **labels: str) -> Alert:
    whole = {"alertname": "DeviceHot", "severity": "warning", "site": "s1", "node": f"n{number}", **labels}
    return Alert(
        fingerprint=fingerprint(whole), rule="DeviceHot", state=state, labels=whole,
        annotations={"summary": f"device of n{number} is hot"}, active_at=START - 30.0, fired_at=START,
        resolved_at=START + 90.5 if state == State.RESOLVED else None,
    )


def notification(identity: str = "a1", *alerts: Alert, group: str = "s1", truncated: int = 0) -> Notification:
    return Notification(
        id=identity, receiver="ops", group_key=f'{{}}:{{alertname="DeviceHot", site="{group}"}}',
        group_labels={"alertname": "DeviceHot", "site": group}, alerts=list(alerts) or [alert()], truncated=truncated,
        reason="first notification", made_at=START,
    )


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Entry:
    notification: Notification
    attempts: int = 0
    retry_at: float = 0.0
    since: float = 0.0


@dataclass
class Shelf:
    """Oldest first; one waits behind the older ones of its group. full: the disk takes nothing."""

    entries: dict[str, Entry] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    buried: dict[str, str] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    full: bool = False

    def put(self, *notifications: Notification, since: float = 0.0) -> "Shelf":
        for each in notifications:
            self.entries[each.id] = Entry(each, since=since)
        return self

    def waiting(self, receiver: str, now_s: float) -> Waiting | None:
        seen: set[str] = set()
        for entry in self.entries.values():
            key = entry.notification.group_key
            if key not in seen and entry.retry_at <= now_s:
                return Waiting(entry.notification, entry.attempts, now_s - entry.since)
            seen.add(key)
        return None

    def problem_of(self, receiver: str) -> str:
        return self.problems[-1] if self.entries and self.problems else ""

    async def delivered(self, notification_id: str) -> None:
        if self.full:
            raise OSError("no room")
        del self.entries[notification_id]

    async def failed(self, notification_id: str, retry_at_s: float, problem: str) -> None:
        entry = self.entries[notification_id]
        entry.attempts += 1
        entry.retry_at = retry_at_s
        self.problems.append(problem)

    async def dead(self, notification_id: str, problem: str) -> None:
        del self.entries[notification_id]
        self.buried[notification_id] = problem

    def standing(self, receiver: str) -> list[Alert]:
        return self.alerts
