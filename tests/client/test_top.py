import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fallow_client.commands.top import ordered
from tests.client.conftest import environment
from tests.collector.api.memory import MemoryAnswers, device, fleet
from tests.collector.api.served import served

DEADLINE_S = 60


def test_the_busiest_come_first_and_the_unknown_last() -> None:
    by_power = ordered(fleet(), "power")
    assert by_power[0].power_watts == 655.0
    unknown = [one.power_watts is None for one in by_power]
    assert unknown == sorted(unknown)
    zero, none, some = device("a"), device("b", utilization_ratio=None), device("c", utilization_ratio=0.2)
    assert ordered([zero, none, some], "utilization") == [some, zero, none]


class Terminal:
    """A terminal of 80 × 24 with `fallow top` in it."""

    def __init__(self, screen: int, process: "subprocess.Popen[bytes]") -> None:
        self._screen = screen
        self.process = process
        self.text = ""

    def press(self, key: bytes) -> None:
        os.write(self._screen, key)

    def read_until(self, seen: Callable[[str], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not seen(self.text):
            assert time.monotonic() < deadline, self.text
            if select.select([self._screen], [], [], 0.1)[0]:
                self.text += os.read(self._screen, 65536).decode(errors="replace")


@contextmanager
def terminal(url: str) -> Iterator[Terminal]:
    screen, tty = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fallow_client.cli", "top", "--url", url], stdin=tty, stdout=tty, stderr=tty,
        env=environment(TERM="xterm", LINES="24"),
    )
    os.close(tty)
    try:
        yield Terminal(screen, process)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


@pytest.mark.parametrize("leave", [lambda top: top.press(b"q"), lambda top: top.process.send_signal(signal.SIGINT)])
def test_it_refreshes_until_q_or_ctrl_c_and_restores_the_terminal(
    url: str, leave: Callable[[Terminal], None]
) -> None:
    with terminal(url) as top:
        top.read_until(lambda text: text.count("GPU-60c0ffee") >= 2)
        leave(top)
        top.read_until(lambda text: "\x1b[?1049l" in text)
        assert top.process.wait(DEADLINE_S) == 0


def test_a_collector_that_goes_away_leaves_the_last_view_with_the_reason() -> None:
    with served(MemoryAnswers()) as url:
        living = terminal(url)
        top = living.__enter__()
        top.read_until(lambda text: "GPU-60c0ffee" in text)
    try:
        # The screen comes in pieces, the reason first and the view below it.
        top.read_until(lambda text: "GPU-60c0ffee" in text.partition("cannot be reached")[2])
        top.press(b"q")
        assert top.process.wait(DEADLINE_S) == 0
    finally:
        living.__exit__(None, None, None)
