"""What delivery asks of whoever keeps alerts on disk. Seconds are those of the clock that no step of the wall clock
moves."""

from collections.abc import Awaitable, Sequence
from typing import NamedTuple, Protocol

from fallow_collector.alerts.alert import Alert
from fallow_collector.alerts.notification import Notification


class Waiting(NamedTuple):
    """attempts: those that failed. age_s: seconds since it was put into the outbox."""

    notification: Notification
    attempts: int
    age_s: float


class Outbox(Protocol):
    """Done when it is on disk. A notification waits behind the older ones of its group."""

    def waiting(self, receiver: str, now_s: float) -> Waiting | None:
        """The one to be sent next, of those whose time has come."""

    def problem_of(self, receiver: str) -> str:
        """Why what waits for it was not delivered so far; empty: no attempt at it failed."""

    def delivered(self, notification_id: str) -> Awaitable[None]: ...

    def failed(self, notification_id: str, retry_at_s: float, problem: str) -> Awaitable[None]: ...

    def dead(self, notification_id: str, problem: str) -> Awaitable[None]:
        """It is given up, and kept as a dead letter."""


class Standing(Protocol):
    def standing(self, receiver: str) -> Sequence[Alert]:
        """Alerts for this receiver of type alertmanager, by its matchers: those that fire, and those that were resolved
        in the last 15 minutes."""
