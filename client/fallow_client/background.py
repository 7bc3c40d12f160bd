"""Asynchronous work of a program that is not: on a thread with a loop of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self


class Background:
    """Runs a coroutine function while the block lasts; the end of the block cancels it and waits until it has ended."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._work = work
        self._running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def call(self, action: Callable[[], object]) -> None:
        """Do something on the loop, unless the work has ended."""
        loop, _ = self._running.result()
        try:
            loop.call_soon_threadsafe(action)
        except RuntimeError:  # closed, and only by the end of the work
            return

    def join(self) -> None:
        """Wait until the work has ended by itself."""
        self._thread.join()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _, task = self._running.result()
        self.call(task.cancel)
        self.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            return

    async def _main(self) -> None:
        task = asyncio.create_task(self._work())
        self._running.set_result((asyncio.get_running_loop(), task))
        await task
