"""The devices of a watch as they are now, with how sure that is. Pure but for the lock; `now` is monotonic seconds."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from typing import NamedTuple, Protocol

from fallow_client.background import Background
from fallow_client.calls import Where
from fallow_client.errors import FallowError
from fallow_client.following import Event
from fallow_proto.dispatch import Change, Watched


class Sight(NamedTuple):
    """What a mirror shows at a moment."""

    devices: Mapping[str, Watched]  # by uuid
    complete: bool  # all are here, as far as the collector sees all; False until the list is whole, and while cut off
    age_s: float  # since the collector last said anything; inf: it never did
    max_age_ms: int | None  # of the evidence, at the last bookmark
    revision: int | None  # of the last change; comparable within one epoch
    epoch: str
    error: str  # why it is cut off; empty: it is not


class Mirror:
    """Keeps what the changes of a watch add up to."""

    def __init__(self) -> None:
        self._devices: dict[str, Watched] = {}
        self._listed = False
        self._complete = False
        self._max_age_ms: int | None = None
        self._heard_at = float("-inf")
        self._revision: int | None = None
        self._epoch = ""
        self._error = ""
        self._lock = threading.Lock()

    def apply(self, event: Event, now: float) -> None:
        with self._lock:
            if isinstance(event, Change):
                self._change(event, now)
            else:
                self._error = event.error
                if event.lists_again:
                    self._forget()

    def fail(self, error: FallowError) -> None:
        """The watch has ended for good."""
        with self._lock:
            self._error = str(error)

    def sight(self, now: float | None = None) -> Sight:
        now = time.monotonic() if now is None else now
        with self._lock:
            sure = self._listed and self._complete and not self._error
            return Sight(
                self._devices.copy(), sure, now - self._heard_at, self._max_age_ms, self._revision, self._epoch,
                self._error,
            )

    def _change(self, change: Change, now: float) -> None:
        self._heard_at, self._error = now, ""
        self._epoch, self._revision = change.epoch, change.revision
        match change.kind, change.device:
            case "added" | "modified", Watched() as device:
                self._devices[device.uuid] = device
            case "deleted", Watched() as device:
                self._devices.pop(device.uuid, None)
            case "bookmark", _:
                self._listed = True
                self._complete = change.complete is True
                self._max_age_ms = change.max_age_ms
            case "resync", _:
                self._forget()

    def _forget(self) -> None:
        self._devices = {}
        self._listed = self._complete = False
        self._max_age_ms = None


class Watcher(Protocol):
    def watch(self, where: Where) -> AsyncGenerator[Event, None]: ...


@contextmanager
def mirrored(connect: Callable[[], AbstractAsyncContextManager[Watcher]], where: Where) -> Iterator[Mirror]:
    """A mirror that a thread keeps up to date."""
    mirror = Mirror()

    async def work() -> None:
        async with connect() as watcher:
            await _keep(mirror, watcher, where)

    with Background(work, "mirror"):
        yield mirror


@asynccontextmanager
async def mirrored_async(watcher: Watcher, where: Where) -> AsyncIterator[Mirror]:
    """A mirror that a task keeps up to date."""
    mirror = Mirror()
    keeping = asyncio.create_task(_keep(mirror, watcher, where), name="mirror")
    try:
        yield mirror
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})


async def _keep(mirror: Mirror, watcher: Watcher, where: Where) -> None:
    try:
        async with aclosing(watcher.watch(where)) as events:
            async for event in events:
                mirror.apply(event, time.monotonic())
    except FallowError as error:
        mirror.fail(error)
