"""Several collectors at once, each the one of its site."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import aclosing
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from fallow_client.across import Across, best, side_by_side
from fallow_client.aio import AsyncClient
from fallow_client.calls import EVERYTHING, Where
from fallow_client.client import Client
from fallow_client.errors import FallowError, NoCapacity, Unreachable
from fallow_client.following import Event
from fallow_proto import api
from fallow_proto.api import Problem
from fallow_proto.dispatch import Fault, Fit, Lease, Request

Answer = TypeVar("Answer")
WITHIN_S = 5.0
Tokens = str | Mapping[str, str]


class Placed(NamedTuple):
    """Where devices were found or taken."""

    site: str
    lease: Lease


class Sites:
    """Asks all collectors at once, by threads; what one does not answer in time is missing from the answer, by name.

        with Sites({"north": "https://fallow.north:4918", "south": "https://fallow.south:4918"}, token) as sites:
            found = sites.capacity()

    token: one for all, or by site.
    """

    def __init__(self, urls: Mapping[str, str], token: Tokens = "", within_s: float = WITHIN_S) -> None:
        self.urls = urls
        self.token = token
        self._clients = {site: Client(url, _token(token, site)) for site, url in urls.items()}
        self._within_s = within_s
        self._threads = ThreadPoolExecutor(max(len(urls), 1), thread_name_prefix="site")

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def at(self, site: str) -> Client:
        """The client of one collector."""
        return self._clients[site]

    def capacity(self, where: Where = EVERYTHING) -> Across[api.Capacity]:
        return self.ask(lambda client: client.capacity(where))

    def devices(self, where: Where = EVERYTHING, limit: int | None = None) -> Across[api.Page[api.Device]]:
        return self.ask(lambda client: client.devices(where, limit))

    def nodes(self, where: Where = EVERYTHING, limit: int | None = None) -> Across[api.Page[api.Node]]:
        return self.ask(lambda client: client.nodes(where, limit))

    def fit(self, request: Request) -> Across[Fit]:
        """across.best() names the best sites in order."""
        return self.ask(lambda client: client.fit(request))

    def reserve(self, request: Request, *, holder: str = "", hold: bool = False, ttl_s: float = 0.0) -> Placed:
        """At the best site that has the devices; the next one if somebody was quicker there. Raises NoCapacity."""
        found = self.fit(request)
        for site in best(found):
            try:
                return Placed(site, self.at(site).reserve(request, holder=holder, hold=hold, ttl_s=ttl_s))
            except NoCapacity:
                continue
        raise nothing_fits(found)

    def ask(self, question: Callable[[Client], Answer]) -> Across[Answer]:
        """The same question to every collector."""
        asked = {site: self._threads.submit(question, client) for site, client in self._clients.items()}
        done, _ = wait_for(asked.values(), self._within_s)
        found: dict[str, Answer | Exception] = {}
        for site, future in asked.items():
            if future not in done:
                future.cancel()
                found[site] = too_late(self._within_s)
            elif (failure := future.exception()) is None:
                found[site] = future.result()
            elif isinstance(failure, FallowError):
                found[site] = failure
            else:
                raise failure
        return side_by_side(found)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for client in self._clients.values():
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncSites:
    """The same, awaited."""

    def __init__(self, urls: Mapping[str, str], token: Tokens = "", within_s: float = WITHIN_S) -> None:
        self._clients = {site: AsyncClient(url, _token(token, site)) for site, url in urls.items()}
        self._within_s = within_s

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def at(self, site: str) -> AsyncClient:
        """The client of one collector."""
        return self._clients[site]

    async def capacity(self, where: Where = EVERYTHING) -> Across[api.Capacity]:
        return await self.ask(lambda client: client.capacity(where))

    async def devices(self, where: Where = EVERYTHING, limit: int | None = None) -> Across[api.Page[api.Device]]:
        return await self.ask(lambda client: client.devices(where, limit))

    async def nodes(self, where: Where = EVERYTHING, limit: int | None = None) -> Across[api.Page[api.Node]]:
        return await self.ask(lambda client: client.nodes(where, limit))

    async def fit(self, request: Request) -> Across[Fit]:
        """across.best() names the best sites in order."""
        return await self.ask(lambda client: client.fit(request))

    async def reserve(self, request: Request, *, holder: str = "", hold: bool = False, ttl_s: float = 0.0) -> Placed:
        """At the best site that has the devices; the next one if somebody was quicker there. Raises NoCapacity."""
        found = await self.fit(request)
        for site in best(found):
            try:
                return Placed(site, await self.at(site).reserve(request, holder=holder, hold=hold, ttl_s=ttl_s))
            except NoCapacity:
                continue
        raise nothing_fits(found)

    async def watch(self, where: Where = EVERYTHING) -> AsyncGenerator[tuple[str, Event], None]:
        """The watches of all collectors, each event with its site. Raises what ends one of them."""
        events: asyncio.Queue[tuple[str, Event]] = asyncio.Queue(QUEUED)

        async def follow(site: str, client: AsyncClient) -> None:
            async with aclosing(client.watch(where)) as found:
                async for event in found:
                    await events.put((site, event))

        following = {asyncio.create_task(follow(site, client)) for site, client in self._clients.items()}
        getting = asyncio.create_task(events.get())
        try:
            while True:
                done, _ = await asyncio.wait({getting, *following}, return_when=asyncio.FIRST_COMPLETED)
                if getting in done:
                    yield getting.result()
                    getting = asyncio.create_task(events.get())
                for ended in done & following:
                    await ended
        finally:
            for task in (getting, *following):
                task.cancel()
            await asyncio.wait({getting, *following})

    async def ask(self, question: Callable[[AsyncClient], Awaitable[Answer]]) -> Across[Answer]:
        """The same question to every collector."""

        async def at(client: AsyncClient) -> Answer | Exception:
            try:
                async with asyncio.timeout(self._within_s):
                    return await question(client)
            except TimeoutError:
                return too_late(self._within_s)
            except FallowError as error:
                return error

        answers = await asyncio.gather(*(at(client) for client in self._clients.values()))
        return side_by_side(dict(zip(self._clients, answers, strict=True)))

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients.values()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


QUEUED = 1000  # events that nobody has taken yet; further ones wait in the sockets


def nothing_fits(found: Across[Fit]) -> FallowError:
    """NoCapacity only if every collector said so."""
    lacking = [f"it does not fit at {site}, where {fit.largest} would" for site, fit in found.answers.items()]
    silent = [f"{site} did not answer: {error}" for site, error in found.missing.items()]
    told = "; ".join(lacking + silent)
    if silent:
        return Unreachable(told)
    return NoCapacity(Problem(title="Conflict", status=409, detail=told, code=Fault.NO_CAPACITY))


def too_late(within_s: float) -> Unreachable:
    return Unreachable(f"no answer within {within_s:g} s; is the collector reachable from here?")


def _token(token: Tokens, site: str) -> str:
    return token if isinstance(token, str) else token.get(site, "")
