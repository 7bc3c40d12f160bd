"""Who connects and does not ask in time is let go: uvicorn waits for ever, and its connections are numbered.

There is no limit to the connections of one address: a site of thousands of nodes may be behind one, and whoever means
harm has many. What holds instead: who has not asked is let go within seconds and, when too many wait at once, who has
waited longest goes first; so whoever asks at once is answered, however many are silent.
"""

import asyncio
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 5.0
"""From the connection, or the last answer, to the end of a request's head."""

REQUEST_S = 20.0
"""To its end with its body: a declaration of 32 MiB included."""

TAKE_S = 120.0
"""From the end of a connection's last answer to its last byte taken: a long one over a slow line takes its time."""

HEAD_BYTES = 16_384

WAITING = 4096
"""Connections that may wait without a whole request."""

Waiting = dict["PatientProtocol", None]
"""Of one server, who has waited longest first."""


class PatientProtocol(H11Protocol):
    """head_s, patience_s: a request that takes longer to come ends its connection."""

    head_s = HEAD_S
    patience_s = REQUEST_S
    take_s = TAKE_S
    most_waiting = WAITING
    _impatience: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, waiting: Waiting, **more: Any) -> None:
        super().__init__(*args, **more)
        self._waiting = waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._impatience is not None and self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._end()  # it came whole, and is answered, however long that takes: a watch lasts for days

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._begin()

    def _begin(self) -> None:
        self._end()
        self._impatience = self.loop.call_later(self.head_s, self._expect_head)
        self._waiting[self] = None
        if len(self._waiting) > self.most_waiting:
            next(iter(self._waiting)).transport.abort()

    def _end(self) -> None:
        self._waiting.pop(self, None)
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _expect_head(self) -> None:
        if self.conn.their_state is h11.SEND_BODY:
            self._impatience = self.loop.call_later(self.patience_s - self.head_s, self.transport.abort)
        elif self.cycle is None:
            self.transport.abort()
        else:
            self.transport.close()  # when it has taken all of the last answer
            self._impatience = self.loop.call_later(self.take_s, self.transport.abort)
