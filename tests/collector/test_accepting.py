"""What is said when no connection can be taken."""

import asyncio
import errno
import logging

import pytest

from fallow_collector.accepting import EVERY_S, Accepting

ACCEPT = "socket.accept() out of system resource"


def test_it_is_said_once_a_minute_and_all_else_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    handler = Accepting(lambda: now)
    loop = asyncio.new_event_loop()
    try:
        with caplog.at_level(logging.ERROR):
            for _ in range(1000):
                handler(loop, {"message": ACCEPT, "exception": OSError(errno.EMFILE, "Too many open files")})
            assert len(caplog.messages) == 1
            assert "raise LimitNOFILE" in caplog.messages[0]
            now += EVERY_S
            handler(loop, {"message": ACCEPT, "exception": OSError(errno.ENFILE, "Too many open files")})
            handler(loop, {"message": ACCEPT, "exception": OSError(errno.EIO, "Input/output error")})
            handler(loop, {"message": "a task failed", "exception": OSError(errno.EMFILE, "Too many open files")})
            handler(loop, {"message": "something without an exception"})
    finally:
        loop.close()
    assert [message.splitlines()[0] for message in caplog.messages[2:]] == [
        ACCEPT, "a task failed", "something without an exception",
    ]
