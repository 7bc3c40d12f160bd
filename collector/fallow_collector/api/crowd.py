"""So many requests at once and no more: a storm of scrapers must not starve the agents.

Uvicorn's own limit counts connections, too, so that silent ones would lock out whoever asks. Enrolments are counted for
themselves: theirs is the only body that is waited for before anybody has shown a token, so whoever sends many of them
slowly keeps other enrolments out, and nobody else.
"""

from collections import Counter

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from fallow_collector.api.gate import as_routed
from fallow_collector.api.problems import MEDIA_TYPE, problem, problem_bytes
from fallow_proto.enrolment import PATH

REQUESTS = 512
"""Watches included, which last for days."""

STRANGERS = 64
"""Enrolments, of which each takes milliseconds."""


class Crowd:
    def __init__(self, app: ASGIApp, most: int = REQUESTS) -> None:
        self._app = app
        self._most = {False: most, True: STRANGERS}  # by whether it is an enrolment
        self._running = Counter[bool]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        enrols = as_routed(scope["path"]) == PATH
        if self._running[enrols] >= self._most[enrols]:
            await self._refuse(self._most[enrols], send)
            return
        self._running[enrols] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running[enrols] -= 1

    async def _refuse(self, most: int, send: Send) -> None:
        body = problem_bytes(problem(503, (
            f"{most} requests are being answered, which is as many as are at once; ask again in a second. Is "
            f"something asking in a loop, or leaving watches open?"
        )))
        headers = [
            (b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body)), (b"retry-after", b"1"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
