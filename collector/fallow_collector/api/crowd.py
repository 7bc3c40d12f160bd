"""So many requests at once and no more: a storm of scrapers must not starve the agents.

Uvicorn's own limit counts connections, too, so that silent ones would lock out whoever asks.
"""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from fallow_collector.api.problems import MEDIA_TYPE, problem, problem_bytes

REQUESTS = 512
"""Watches included, which last for days."""


class Crowd:
    def __init__(self, app: ASGIApp, most: int = REQUESTS) -> None:
        self._app = app
        self._most = most
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        if self._running >= self._most:
            await self._refuse(send)
            return
        self._running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1

    async def _refuse(self, send: Send) -> None:
        body = problem_bytes(problem(503, (
            f"{self._most} requests are being answered, which is as many as are at once; ask again in a second. Is "
            f"something asking in a loop, or leaving watches open?"
        )))
        headers = [
            (b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body)), (b"retry-after", b"1"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
