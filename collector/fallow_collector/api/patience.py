"""Who connects and does not ask in time is let go: uvicorn waits for ever, and its connections are numbered."""

import asyncio
from typing import cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S = 20.0
"""From the connection, or the last answer, to the end of a request with its body: a declaration of 32 MiB included."""

HEAD_BYTES = 16_384


class PatientProtocol(H11Protocol):
    """patience_s: a request that takes longer to come ends its connection."""

    patience_s = REQUEST_S
    _impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._begin()

    def _begin(self) -> None:
        self._end()
        self._impatience = self.loop.call_later(self.patience_s, self._look)

    def _end(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _look(self) -> None:
        """What has come whole is answered, however long that takes: a watch lasts for days."""
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self.transport.abort()
