"""The real API on a real server on loopback, in a thread with a loop of its own."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from litestar.types import ASGIApp

from fallow_collector.api.answers import Answers
from fallow_collector.api.app import make_app
from fallow_collector.api.server import HttpServer
from fallow_collector.api.tokens import Tokens

DEADLINE_S = 60


@contextmanager
def served(
    answers: Answers, tokens: Tokens | None = None, *, loopback_only: bool = True, cert: Path | None = None,
    key: Path | None = None, **parts: object,
) -> Iterator[str]:
    """The URL at which `answers` are answered until the block ends."""
    with serving(lambda: make_app(answers, tokens, "0.0.0", loopback_only, **parts), cert, key) as url:
        yield url


@contextmanager
def serving(make: Callable[[], ASGIApp], cert: Path | None = None, key: Path | None = None) -> Iterator[str]:
    """The URL of an application, made on the loop that serves it, until the block ends."""
    address: Future[str] = Future()
    stop: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def run() -> None:
        server = HttpServer(make(), "127.0.0.1:0", str(cert or ""), str(key or ""))
        ended = asyncio.Event()
        stop.set_result((asyncio.get_running_loop(), ended))
        address.set_result(await server.start())
        await ended.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        yield f"{'https' if cert else 'http'}://{address.result(DEADLINE_S)}"
    finally:
        loop, ended = stop.result(DEADLINE_S)
        loop.call_soon_threadsafe(ended.set)
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the server did not stop"
