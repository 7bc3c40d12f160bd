"""Delivery: one task a receiver, each for itself, so that one which hangs or fails keeps nobody else waiting."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple
from uuid import uuid4

from fallow_collector.alerts.alert import Alert, State, fingerprint
from fallow_collector.alerts.attempted import Attempted
from fallow_collector.alerts.courier import Courier
from fallow_collector.alerts.notification import Notification
from fallow_collector.alerts.outbox import Outbox, Standing
from fallow_collector.alerts.push import Push
from fallow_collector.alerts.receivers.verdict import Delivered
from fallow_collector.alerts.sender import Attempt, Sender
from fallow_collector.alerts.settings import ReceiverSettings
from fallow_collector.alerts.wire import Wire
from fallow_proto.alerts import AlertTested

STOP_S = 5.0
"""What an attempt that is under way gets to end when we stop. One that is cut off may have arrived, and is made again
with the same id after the next start."""

log = logging.getLogger(__name__)


class UnknownReceiver(Exception):
    """The message names those that there are."""


class _Worker(NamedTuple):
    sender: Sender
    attempted: Attempted
    does: Courier | Push
    wake: asyncio.Event


class Delivery:
    """Everything on the event loop's thread. now: seconds of the clock of `outbox`. wall: unix seconds. random: 0 to 1.

    attempted: by receiver, how its attempts go.
    """

    def __init__(
        self, receivers: Sequence[ReceiverSettings], outbox: Outbox, standing: Standing, *, external_url: str,
        version: str, now: Callable[[], float], wall: Callable[[], float], random: Callable[[], float],
    ) -> None:
        self._wall = wall
        self._workers: dict[str, _Worker] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        context = ssl.create_default_context()
        for receiver in receivers:
            sender = Sender(receiver, external_url, version, wall, Wire(context))
            attempted = Attempted(receiver.name, outbox.problem_of(receiver.name), wall)
            does = (
                Push(sender, standing, attempted, now, random) if receiver.type == "alertmanager"
                else Courier(sender, outbox, attempted, now, random)
            )
            self._workers[receiver.name] = _Worker(sender, attempted, does, asyncio.Event())

    @property
    def attempted(self) -> Mapping[str, Attempted]:
        return {name: worker.attempted for name, worker in self._workers.items()}

    def start(self) -> None:
        for name, worker in self._workers.items():
            self._tasks.append(asyncio.create_task(self._work(name, worker), name=f"receiver {name}"))

    def wake(self) -> None:
        """There may be something new to tell."""
        for worker in self._workers.values():
            worker.wake.set()

    async def stop(self, within_s: float = STOP_S) -> None:
        self._stopping = True
        self.wake()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self._workers.values():
            worker.sender.close()

    async def test(self, name: str) -> AlertTested:
        """Sends a message now, past the outbox. Raises UnknownReceiver."""
        worker = self._workers.get(name)
        if worker is None:
            known = ", ".join(sorted(self._workers)) or "none"
            raise UnknownReceiver(f"there is no receiver {name!r}; expected one of: {known}")
        began = monotonic()
        attempt = await _tried(worker.does, name, self._wall())
        took_ms = round((monotonic() - began) * 1000)
        delivered = isinstance(attempt.verdict, Delivered)
        message = "delivered" if isinstance(attempt.verdict, Delivered) else attempt.verdict.problem
        return AlertTested(receiver=name, delivered=delivered, status=attempt.status, message=message, took_ms=took_ms)

    async def _work(self, name: str, worker: _Worker) -> None:
        while not self._stopping:
            worker.wake.clear()
            try:
                while await worker.does.attempt() and not self._stopping:
                    pass
            except Exception as error:  # nobody else stops for it, and what could not be noted is noted later
                log.error("receiver=%s: an attempt cannot be noted", name, exc_info=error)
            if not self._stopping:
                await _woken(worker.wake, worker.does.look_s)


async def _woken(wake: asyncio.Event, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await wake.wait()
    except TimeoutError:
        return


async def _tried(does: Courier | Push, receiver: str, at: float) -> Attempt:
    labels = {"alertname": "FallowTest", "severity": "none", "receiver": receiver}
    alert = Alert(
        fingerprint=fingerprint(labels), rule="FallowTest", state=State.FIRING, labels=labels,
        annotations={"summary": "This is a test: this receiver is told of Fallow's alerts."},
        active_at=at, fired_at=at,
    )
    match does:
        case Push():
            return await does.send([alert])
        case Courier():
            return await does.send(Notification(
                id=f"test-{uuid4().hex}", receiver=receiver, group_key='{}:{alertname="FallowTest"}',
                group_labels={"alertname": "FallowTest"}, alerts=[alert], truncated=0, reason="first notification",
                made_at=at,
            ))
