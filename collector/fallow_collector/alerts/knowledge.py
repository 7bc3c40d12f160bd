"""What receivers know and what waits for them; each change is noted for the disk."""

from collections.abc import Callable, Collection, Mapping

import msgspec

from fallow_collector.alerts.alert import Alert
from fallow_collector.alerts.audience import Groups
from fallow_collector.alerts.changes import Attempts, Note, Table
from fallow_collector.alerts.compose import compose
from fallow_collector.alerts.group import Sending, Told
from fallow_collector.alerts.plan import Draft, Pace, Present, aged, draft
from fallow_collector.alerts.sendings import Sendings

NOBODY = Present()


class Knowledge:
    """note: takes each row that is to be written."""

    def __init__(
        self, told: Collection[Told], outbox: Mapping[str, Sending], attempts: Mapping[str, Attempts], pace: Pace,
        new_id: Callable[[], str], note: Note,
    ) -> None:
        self._note = note
        self.sendings = Sendings(outbox, attempts)
        self._told: dict[str, dict[str, Told]] = {}
        for each in told:
            self._told.setdefault(each.receiver, {})[each.group_key] = each
        self._pace = pace
        self._new_id = new_id

    def owed(self, withheld: Collection[str] = ()) -> set[str]:
        """Fingerprints of alerts of whose resolve somebody is still to be told."""
        owed: set[str] = set()
        for groups in self._told.values():
            owed.update(*(told.firing for told in groups.values()))
        for sending in self.sendings:
            owed.update(sending.firing, sending.resolved)
        return owed.difference(withheld)

    def plan(
        self, receiver: str, send_resolved: bool, groups: Groups, alerts: Mapping[str, Alert], now_s: float, wall: float
    ) -> None:
        """Put into the outbox what this receiver is to be told now. A group of which a notification is just being sent
        waits for its end."""
        known = self._told.setdefault(receiver, {})
        for key in groups.keys() | known.keys():
            labels, present = groups.get(key, ((), NOBODY))
            waiting = self.sendings.of_group(receiver, key)
            if waiting is not None and self.sendings.is_taken(waiting):
                continue
            before = known.get(key, Told(receiver=receiver, group_key=key))
            told = aged(before, present, waiting, self._pace, send_resolved, now_s)
            if told != before:
                self._know(told)
            news = draft(present, told, waiting, self._pace, send_resolved, now_s)
            if news is not None:
                self._send(news, told, waiting, dict(labels), alerts, now_s, wall)

    def delivered(self, sending: Sending) -> None:
        """Or given up."""
        notification = sending.notification
        self._take_back(sending)
        self._know(self._told[notification.receiver][notification.group_key].by(sending))

    def failed(self, sending: Sending, retry_at_s: float, problem: str) -> None:
        attempts = self.sendings.failed(sending, retry_at_s, problem)
        self._note(Table.ATTEMPTS, sending.notification.id, attempts)

    def _send(
        self, news: Draft, told: Told, waiting: Sending | None, labels: dict[str, str], alerts: Mapping[str, Alert],
        now_s: float, wall: float,
    ) -> None:
        attempts = self.sendings.attempts(waiting) if waiting else None
        if waiting is not None:
            self._take_back(waiting)
        if news.firing or news.resolved:
            notification = compose(
                news, alerts, told.firing, notification_id=self._new_id(), receiver=told.receiver,
                group_key=told.group_key, group_labels=labels, made_at=wall,
            )
            self._put(Sending(
                notification=notification, firing=news.firing, resolved=news.resolved,
                since_s=waiting.since_s if waiting else now_s,
            ), attempts)
            self._know(msgspec.structs.replace(told, at_s=now_s, began_s=None))

    def _put(self, sending: Sending, attempts: Attempts | None) -> None:
        self.sendings.put(sending, attempts)
        self._note(Table.OUTBOX, sending.notification.id, sending)
        if attempts is not None:
            self._note(Table.ATTEMPTS, sending.notification.id, attempts)

    def _take_back(self, sending: Sending) -> None:
        self.sendings.remove(sending)
        self._note(Table.OUTBOX, sending.notification.id, None)
        self._note(Table.ATTEMPTS, sending.notification.id, None)

    def _know(self, told: Told) -> None:
        groups = self._told.setdefault(told.receiver, {})
        groups[told.group_key] = told
        if told.is_blank and self.sendings.of_group(told.receiver, told.group_key) is None:
            del groups[told.group_key]
        self._note(Table.TOLD, f"{told.receiver}\n{told.group_key}", groups.get(told.group_key))
