"""One request to one receiver: resolved, vetted, asked, and its reply read, all within one deadline.

Only httpx's transport is used, not its client: that is one request to one address and nothing clever. It follows no
redirect, heeds no proxy of the environment, keeps no cookie, and writes no URL into a log.
"""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

import httpx

from fallow_collector.alerts.address import AddressRefused, vetted
from fallow_collector.alerts.receivers.request import Request

DEADLINE_S = 15.0
CONNECT_S = 5.0
"""For one address, so that a name of which the first address is dead still has time for the second."""

REPLY = 64 * 1024
"""Bytes of a reply that are read; the connection is closed on the rest."""

logging.getLogger("httpcore").setLevel(logging.INFO)  # below that it logs replies, which may repeat what is secret


@dataclass(frozen=True, slots=True)
class Reply:
    """headers: their names in small letters. body: its start."""

    status: int
    headers: dict[str, str]
    body: bytes


class Unreachable(Exception):
    """There is no reply; the message says why and holds nothing secret."""


def lookup(host: str) -> list[str]:
    """All addresses of a name. Raises OSError and UnicodeError."""
    return [str(sockaddr[0]) for *_, sockaddr in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class Wire:
    """Each receiver has its own, with a thread of its own for the resolver, which may hang for half a minute and must
    not do so in a thread that somebody else waits for."""

    def __init__(
        self, context: ssl.SSLContext, *, deadline_s: float = DEADLINE_S,
        lookup: Callable[[str], list[str]] = lookup,
    ) -> None:
        self._context = context
        self._deadline_s = deadline_s
        self._lookup = lookup
        self._resolver = ThreadPoolExecutor(1, thread_name_prefix="resolver")

    async def ask(self, request: Request) -> Reply:
        """Raises Unreachable."""
        try:
            async with asyncio.timeout(self._deadline_s) as deadline:
                return await self._ask(request, deadline.when() or 0.0)
        except TimeoutError:
            raise Unreachable(f"it did not answer in full within {self._deadline_s:g} s") from None
        except AddressRefused as error:
            raise Unreachable(str(error)) from None

    def close(self) -> None:
        self._resolver.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, request: Request, until: float) -> Reply:
        try:
            url = httpx.URL(request.url)
        except httpx.InvalidURL:
            raise Unreachable("its url is not one; expected such as https://hooks.example.com/alerts") from None
        host = url.raw_host.decode()
        problem = f"{host} has no address"
        for address in vetted(host, await self._resolve(host)):
            try:
                return await self._ask_at(address, url, request, until)
            except httpx.TransportError as error:
                problem = explained(error)
                if not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                    break
        raise Unreachable(problem) from None

    async def _resolve(self, host: str) -> list[str]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._resolver, self._lookup, host)
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no name"
            raise Unreachable(f"the address of {host} cannot be found: {why}") from None

    async def _ask_at(self, address: str, url: httpx.URL, request: Request, until: float) -> Reply:
        """Host and the name that its certificate must have stay those of the URL.

        Connecting and the handshake of TLS end before the deadline: httpcore closes a connection whose handshake takes
        too long, but forgets, open, one whose handshake is cancelled.
        """
        left_s = until - asyncio.get_running_loop().time()
        headers = {**request.headers, "host": url.netloc.decode(), "accept-encoding": "identity", "connection": "close"}
        asked = httpx.Request(
            request.method, url.copy_with(host=address), headers=headers, content=request.body,
            extensions={
                "timeout": httpx.Timeout(left_s, connect=min(CONNECT_S, 0.45 * left_s)).as_dict(),
                "sni_hostname": url.raw_host.decode(),
            },
        )
        async with httpx.AsyncHTTPTransport(verify=self._context, trust_env=False) as transport:
            response = await transport.handle_async_request(asked)
            try:
                return Reply(response.status_code, dict(response.headers), await _start(response))
            finally:
                await response.aclose()


async def _start(response: httpx.Response) -> bytes:
    body = bytearray()
    async with aclosing(cast("AsyncGenerator[bytes]", response.aiter_raw())) as parts:
        async for part in parts:
            body += part
            if len(body) >= REPLY:
                break
    return bytes(body[:REPLY])


def explained(error: httpx.TransportError) -> str:
    """In our own words: what httpx says may repeat a URL or a header."""
    cause = _cause(error)
    match error:
        case httpx.ConnectTimeout():
            return "no connection could be made in time"
        case _ if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        case _ if isinstance(cause, ssl.SSLError):
            return f"TLS fails: {cause.reason or 'it broke off'}"
        case httpx.ConnectError():
            number = cause.errno if isinstance(cause, OSError) else None
            return f"it cannot be reached: {os.strerror(number) if number else 'no connection'}"
        case httpx.RemoteProtocolError():
            return "it broke off, or answered what is not HTTP"
        case httpx.NetworkError():
            return "the connection broke"
        case _:
            return f"the request fails ({type(error).__name__})"


def _cause(error: BaseException) -> BaseException:
    """Where it began: httpx wraps httpcore, which wraps anyio, which wraps the system's."""
    while inner := error.__cause__ or error.__context__:
        if isinstance(inner, ExceptionGroup):
            return inner.exceptions[0]
        error = inner
    return error
