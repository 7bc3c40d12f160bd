"""Takes notifications from the outbox to one receiver, one at a time: nothing is under way twice."""

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial

from fallow_collector.alerts.attempted import Attempted
from fallow_collector.alerts.backoff import is_dead, pause_s, retry_s
from fallow_collector.alerts.notification import Notification
from fallow_collector.alerts.outbox import Outbox, Waiting
from fallow_collector.alerts.receivers import KINDS
from fallow_collector.alerts.receivers.verdict import Again, Delivered, Refused
from fallow_collector.alerts.sender import Attempt, Sender
from fallow_proto.failpoint import Point, reached

REMEMBERED = 1000
"""Notifications of which refusals are counted; of more, the oldest start anew."""

log = logging.getLogger(__name__)


class Courier:
    """look_s: how often it looks for what is due, beside when woken. now: seconds of the clock that no step of the
    wall clock moves. random: 0 to 1.

    After a failure everything pauses for this receiver, longer from failure to failure: one that is down need not be
    asked once for each group.
    """

    look_s = 1.0

    def __init__(
        self, sender: Sender, outbox: Outbox, attempted: Attempted, now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._sender = sender
        self._name = sender.receiver.name
        self._outbox = outbox
        self._attempted = attempted
        self._now = now
        self._random = random
        self._failures = 0  # in a row, of all
        self._paused_until = 0.0
        self._refusals: Counter[str] = Counter()  # by notification; a restart counts anew, and a day ends it anyhow
        self._delivered: set[str] = set()  # that the outbox could not note: it will offer them once more

    async def attempt(self) -> bool:
        """Whether there may be more to do at once."""
        if self._now() < self._paused_until:
            return False
        waiting = self._outbox.waiting(self._name, self._now())
        if waiting is None:
            return False
        notification = waiting.notification
        if notification.id in self._delivered:
            await self._settle(notification.id)
            return False
        reached(Point.ALERTS_BEFORE_SEND)
        attempt = await self.send(notification)
        reached(Point.ALERTS_AFTER_SEND)
        match attempt.verdict:
            case Delivered():
                self._failures, self._paused_until = 0, 0.0
                self._attempted.succeeded()
                await self._settle(notification.id)
                return True
            case Again() | Refused() as verdict:
                await self._failed(waiting, verdict)
                return True

    async def send(self, notification: Notification) -> Attempt:
        kind = KINDS[self._sender.receiver.type]
        return await self._sender.send(partial(kind.render, notification), kind.verdict)

    async def _settle(self, notification_id: str) -> None:
        """Raises what the outbox raises; it is not sent again for that."""
        self._delivered.add(notification_id)
        self._refusals.pop(notification_id, None)
        await self._outbox.delivered(notification_id)
        self._delivered.discard(notification_id)

    async def _failed(self, waiting: Waiting, verdict: Again | Refused) -> None:
        self._failures += 1
        self._paused_until = self._now() + pause_s(verdict, self._failures, self._random())
        self._attempted.failed(verdict.problem)
        notification_id = waiting.notification.id
        if isinstance(verdict, Refused):
            self._refusals[notification_id] += 1
            if len(self._refusals) > REMEMBERED:
                del self._refusals[next(iter(self._refusals))]
        if is_dead(verdict, self._refusals[notification_id], waiting.age_s):
            log.error(
                "notification given up receiver=%s id=%s group=%s attempts=%d problem=%r",
                self._name, notification_id, waiting.notification.group_key, waiting.attempts + 1, verdict.problem,
            )
            self._refusals.pop(notification_id, None)
            await self._outbox.dead(notification_id, verdict.problem)
            return
        retry_at_s = self._now() + retry_s(verdict, waiting.attempts + 1, self._random())
        await self._outbox.failed(notification_id, retry_at_s, verdict.problem)
