"""The outbox in memory: at most one notification per receiver and group, and how its attempts went."""

from collections.abc import Container, Iterator, Mapping

from fallow_collector.alerts.changes import Attempts
from fallow_collector.alerts.group import Sending


class Sendings:
    def __init__(self, sendings: Mapping[str, Sending], attempts: Mapping[str, Attempts]) -> None:
        self._by_id: dict[str, Sending] = {}
        self._of_group: dict[tuple[str, str], str] = {}
        self._of_receiver: dict[str, dict[str, None]] = {}
        self._attempts = {key: tried for key, tried in attempts.items() if key in sendings}
        self._taken: set[str] = set()
        for sending in sorted(sendings.values(), key=lambda each: each.since_s):
            self.put(sending)

    def __iter__(self) -> Iterator[Sending]:
        return iter(self._by_id.values())

    def find(self, notification_id: str) -> Sending | None:
        return self._by_id.get(notification_id)

    def of_group(self, receiver: str, group_key: str) -> Sending | None:
        return self._by_id.get(self._of_group.get((receiver, group_key), ""))

    def is_taken(self, sending: Sending) -> bool:
        """Whether it is just being sent."""
        return sending.notification.id in self._taken

    def attempts(self, sending: Sending) -> Attempts | None:
        """None: none failed."""
        return self._attempts.get(sending.notification.id)

    def count(self, receiver: str) -> int:
        return len(self._of_receiver.get(receiver, ()))

    def problem(self, receiver: str) -> str:
        """Of a failed attempt at what waits, the newest of them; empty: none failed."""
        failed = [tried for each in self._of_receiver.get(receiver, ()) if (tried := self._attempts.get(each))]
        return failed[-1].problem if failed else ""

    def put(self, sending: Sending, attempts: Attempts | None = None) -> None:
        """attempts: of the one whose place it takes."""
        told = sending.notification
        self._by_id[told.id] = sending
        self._of_group[told.receiver, told.group_key] = told.id
        self._of_receiver.setdefault(told.receiver, {})[told.id] = None
        if attempts is not None:
            self._attempts[told.id] = attempts

    def remove(self, sending: Sending) -> None:
        told = sending.notification
        del self._by_id[told.id], self._of_group[told.receiver, told.group_key]
        del self._of_receiver[told.receiver][told.id]
        self._attempts.pop(told.id, None)
        self._taken.discard(told.id)

    def take(self, receiver: str, now_s: float, not_yet: Container[str]) -> Sending | None:
        """The oldest whose time has come; it is now being sent, until it has failed or is removed. not_yet: ids of
        those that are not on disk."""
        for notification_id in self._of_receiver.get(receiver, ()):
            tried = self._attempts.get(notification_id)
            if (tried is None or now_s >= tried.retry_at_s) and notification_id not in not_yet:
                self._taken.add(notification_id)
                return self._by_id[notification_id]
        return None

    def failed(self, sending: Sending, retry_at_s: float, problem: str) -> Attempts:
        before = self.attempts(sending)
        attempts = Attempts(count=before.count + 1 if before else 1, retry_at_s=retry_at_s, problem=problem)
        self._attempts[sending.notification.id] = attempts
        self._taken.discard(sending.notification.id)
        return attempts
