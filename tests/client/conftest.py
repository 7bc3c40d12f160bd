import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.served import served

DEADLINE_S = 60
Fallow = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def serving() -> Iterator[tuple[MemoryAnswers, str]]:
    """One server for many tests, over a fleet that is made anew for each of them."""
    shared = MemoryAnswers()
    with served(shared) as url:
        yield shared, url


@pytest.fixture
def answers(serving: tuple[MemoryAnswers, str]) -> MemoryAnswers:
    serving[0].__init__()  # type: ignore[misc]
    return serving[0]


@pytest.fixture
def url(serving: tuple[MemoryAnswers, str], answers: MemoryAnswers) -> str:
    return serving[1]


def environment(**changes: str) -> dict[str, str]:
    """This one's, without what would change how the command looks or whom it asks."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FALLOW_", "COLUMNS", "LINES"))}
    return kept | {"COLUMNS": "80", "PYTHONUTF8": "1"} | changes


@pytest.fixture
def fallow(url: str) -> Fallow:
    """The command as its user runs it, against the real server."""

    def run(*words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "fallow_client.cli", *words], env=environment(FALLOW_URL=url) | changes,
            capture_output=True, text=True, timeout=DEADLINE_S, check=False, stdin=subprocess.DEVNULL,
        )

    return run
