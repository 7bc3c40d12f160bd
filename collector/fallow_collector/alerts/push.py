"""Keeps one Alertmanager told of all alerts that stand."""

from collections.abc import Callable
from functools import partial

from fallow_collector.alerts.alert import Alert, State
from fallow_collector.alerts.attempted import Attempted
from fallow_collector.alerts.backoff import pause_s
from fallow_collector.alerts.outbox import Standing
from fallow_collector.alerts.receivers.alertmanager import BATCH, Sent, due, render, verdict
from fallow_collector.alerts.receivers.verdict import Delivered, Refused
from fallow_collector.alerts.sender import Attempt, Sender


class Push:
    """look_s: how often it looks for what is due, beside when woken. now: seconds of the clock that no step of the
    wall clock moves. random: 0 to 1.

    It needs no outbox: whatever an Alertmanager missed, it is told at the next renewal; so is one that was restarted.
    """

    look_s = 5.0

    def __init__(
        self, sender: Sender, standing: Standing, attempted: Attempted, now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._sender = sender
        self._standing = standing
        self._attempted = attempted
        self._now = now
        self._random = random
        self._sent: dict[str, Sent] = {}
        self._failures = 0  # in a row
        self._paused_until = 0.0

    async def attempt(self) -> bool:
        """Whether there may be more to do at once. One batch is sent; one that is refused counts as sent, since its
        good alerts were taken, and the bad ones would be refused again."""
        if self._now() < self._paused_until:
            return False
        batch = self._due()[:BATCH]
        if not batch:
            return False
        answer = (await self.send(batch)).verdict
        now_s = self._now()
        if isinstance(answer, Delivered | Refused):
            self._sent.update((alert.fingerprint, Sent(alert.state, now_s)) for alert in batch)
        if isinstance(answer, Delivered):
            self._failures = 0
            self._attempted.succeeded()
        else:
            self._failures += 1
            self._paused_until = now_s + pause_s(answer, self._failures, self._random())
            self._attempted.failed(answer.problem)
        return True

    async def send(self, alerts: list[Alert]) -> Attempt:
        return await self._sender.send(partial(render, alerts), verdict)

    def _due(self) -> list[Alert]:
        receiver = self._sender.receiver
        alerts = [
            alert for alert in self._standing.standing(receiver.name)
            if alert.state == State.FIRING or (alert.state == State.RESOLVED and receiver.send_resolved)
        ]
        known = {alert.fingerprint for alert in alerts}
        self._sent = {fingerprint: sent for fingerprint, sent in self._sent.items() if fingerprint in known}
        return due(alerts, self._sent, self._now())
