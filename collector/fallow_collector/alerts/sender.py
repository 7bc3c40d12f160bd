"""One attempt at one receiver, from its files to a verdict."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from fallow_collector.alerts.credentials import read, without_secrets
from fallow_collector.alerts.receivers.request import Context, Request
from fallow_collector.alerts.receivers.verdict import Again, Refused, Verdict
from fallow_collector.alerts.settings import ReceiverSettings
from fallow_collector.alerts.wire import Unreachable, Wire
from fallow_proto.settings import SettingsError

log = logging.getLogger(__name__)


class Attempt(NamedTuple):
    """status: of HTTP; None: there was no reply."""

    verdict: Verdict
    status: int | None


class Sender:
    """receiver: whom it sends to. wall: unix seconds."""

    def __init__(
        self, receiver: ReceiverSettings, external_url: str, version: str, wall: Callable[[], float],
        wire: Wire,
    ) -> None:
        self.receiver = receiver
        self._external_url = external_url
        self._version = version
        self._wall = wall
        self._wire = wire

    async def send(
        self, render: Callable[[Context], Request], verdict: Callable[[int, dict[str, str], bytes], Verdict]
    ) -> Attempt:
        """Raises nothing but cancellation: what cannot even be rendered is refused by ourselves."""
        try:
            return await self._send(render, verdict)
        except (SettingsError, Unreachable) as error:
            return Attempt(Again(None, str(error)), None)
        except Exception as error:
            log.exception("BUG: receiver=%s cannot be sent to", self.receiver.name)
            return Attempt(Refused(f"BUG: {type(error).__name__}, see the log"), None)

    def close(self) -> None:
        self._wire.close()

    async def _send(
        self, render: Callable[[Context], Request], verdict: Callable[[int, dict[str, str], bytes], Verdict]
    ) -> Attempt:
        credentials = read(self.receiver)
        request = render(Context(
            credentials.url, credentials.keys, credentials.token, self._external_url, self._version, self._wall(),
        ))
        reply = await self._wire.ask(request)
        body = without_secrets(reply.body, credentials, request)
        return Attempt(verdict(reply.status, reply.headers, body), reply.status)
