"""A thread whose end is noticed: Python prints what a thread dies of, and goes on without it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable


def start(name: str, work: Callable[[], None]) -> tuple[threading.Thread, asyncio.Future[None]]:
    """The thread, and what is done when it has ended, or failed with what it died of. On the event loop's thread."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def run() -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as died:  # noqa: BLE001  # told on the loop
            error = died
        with contextlib.suppress(RuntimeError):  # the loop is closed: it outlived the bounds of stopping
            loop.call_soon_threadsafe(_end, ended, error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread, ended


def _end(ended: asyncio.Future[None], error: Exception | None) -> None:
    if not ended.done():
        ended.set_exception(error) if error else ended.set_result(None)
