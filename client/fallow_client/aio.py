"""The client for asyncio: the same calls as Client, awaited."""

from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import TypeVar

import httpx

from fallow_client import calls
from fallow_client.calls import EVERYTHING, Call, Where
from fallow_client.connection import DEFAULT_URL, settings_for, unreachable
from fallow_proto import api

Answer = TypeVar("Answer")


class AsyncClient:
    """Calls one collector; usable as an asynchronous context manager. Every call raises FallowError."""

    def __init__(self, url: str = DEFAULT_URL, token: str = "") -> None:
        self._url = url
        self._token = token
        self._http = httpx.AsyncClient(**settings_for(url))

    async def capacity(self, where: Where = EVERYTHING) -> api.Capacity:
        return await self.ask(calls.capacity(where))

    async def devices(
        self, where: Where = EVERYTHING, limit: int | None = None, cursor: str | None = None
    ) -> api.Page[api.Device]:
        return await self.ask(calls.devices(where, limit, cursor))

    async def all_devices(self, where: Where = EVERYTHING) -> AsyncIterator[api.Device]:
        """Every device, page after page."""
        cursor: str | None = None
        while True:
            page = await self.devices(where, cursor=cursor)
            for one in page.items:
                yield one
            if (cursor := page.next) is None:
                return

    async def device(self, uuid: str) -> api.DeviceDetail:
        return await self.ask(calls.device(uuid))

    async def explain(self, uuid: str) -> api.Explanation:
        return await self.ask(calls.explain(uuid))

    async def nodes(
        self, where: Where = EVERYTHING, limit: int | None = None, cursor: str | None = None
    ) -> api.Page[api.Node]:
        return await self.ask(calls.nodes(where, limit, cursor))

    async def history(
        self, uuid: str, columns: Iterable[str], start: str = "-1h", end: str = "now", step: str = "0"
    ) -> api.History:
        return await self.ask(calls.history(uuid, columns, start, end, step))

    async def declare(self, declared: Iterable[api.Declared]) -> api.DeclarationResult:
        return await self.ask(calls.declare(declared))

    async def retire(self, uuid: str) -> None:
        await self.ask(calls.retire(uuid))

    async def accept_baseline(self, uuid: str) -> api.Baseline:
        return await self.ask(calls.accept_baseline(uuid))

    async def ask(self, call: Call[Answer]) -> Answer:
        return calls.decode(call, await self.fetch(call))

    async def fetch(self, call: Call[Answer]) -> bytes:
        """The answer as it came."""
        try:
            answer = await self._http.request(
                call.method, call.path, params=call.query, content=call.body or None,
                headers=calls.headers(call, self._token),
            )
        except httpx.HTTPError as error:
            raise unreachable(self._url, error) from error
        return calls.check(answer.status_code, answer.content)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
