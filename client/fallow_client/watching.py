"""The watch of a collector as an iterator that goes on over cuts and restarts, for both kinds of programs."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from typing import TypedDict

import httpx

from fallow_client import calls
from fallow_client.calls import Call, Where
from fallow_client.connection import CONNECT_S, unreachable
from fallow_client.errors import FallowError, Unreachable
from fallow_client.following import SILENCE_S, Event, Following
from fallow_proto.dispatch import Change

TIMEOUT = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
ENDED = "the collector ended the watch; it restarts, perhaps"


def watch(http: httpx.Client, url: str, token: str, where: Where) -> Iterator[Event]:
    following = Following()
    while True:
        try:
            call = calls.watch(where, following.resume)
            with http.stream(**_request(call, token)) as answer:
                if not answer.is_success:
                    calls.check(answer.status_code, answer.read())
                following.connected(time.monotonic())
                for chunk in answer.iter_bytes():
                    yield from following.feed(chunk, time.monotonic())
            raise Unreachable(ENDED)
        except httpx.HTTPError as error:
            failure: FallowError = unreachable(url, error)
        except FallowError as error:
            failure = error
        cut = following.broken(failure)
        yield cut
        time.sleep(cut.retry_in_s)


async def watch_async(
    http: httpx.AsyncClient, url: str, token: str, where: Where
) -> AsyncGenerator[Event, None]:
    following = Following()
    while True:
        try:
            call = calls.watch(where, following.resume)
            async with http.stream(**_request(call, token)) as answer:
                if not answer.is_success:
                    calls.check(answer.status_code, await answer.aread())
                following.connected(time.monotonic())
                async for chunk in answer.aiter_bytes():
                    for event in following.feed(chunk, time.monotonic()):
                        yield event
            raise Unreachable(ENDED)
        except httpx.HTTPError as error:
            failure: FallowError = unreachable(url, error)
        except FallowError as error:
            failure = error
        cut = following.broken(failure)
        yield cut
        await asyncio.sleep(cut.retry_in_s)


class _Request(TypedDict):
    method: str
    url: str
    params: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    timeout: httpx.Timeout


def _request(call: Call[Change], token: str) -> _Request:
    sent = {**calls.headers(call, token), "accept": "text/event-stream"}
    return _Request(method=call.method, url=call.path, params=call.query, headers=sent, timeout=TIMEOUT)
