"""Connections that cannot be taken, because no file descriptor is left: asyncio says so a thousand times a second, each
time with where it was. It is said once a minute instead, with what to do."""

import asyncio
import errno
import logging
from collections.abc import Callable
from typing import Any

EVERY_S = 60.0

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = logging.getLogger(__name__)


class Accepting:
    """For loop.set_exception_handler: all else is told as ever. now: monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._told_at = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        exhausted = isinstance(error, OSError) and error.errno in _EXHAUSTED
        if not exhausted or "accept" not in context["message"]:
            loop.default_exception_handler(context)
        elif (now := self._now()) >= self._told_at + EVERY_S:
            self._told_at = now
            log.error(
                "connections cannot be taken problem=%r: who is connected stays so; look for clients that leave theirs "
                "open, or raise LimitNOFILE of the unit", str(error),
            )
