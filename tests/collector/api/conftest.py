from collections.abc import Iterator

import httpx
import pytest

from tests.collector.api.memory import MemoryAnswers
from tests.collector.api.served import served


@pytest.fixture(scope="module")
def serving() -> Iterator[tuple[MemoryAnswers, httpx.Client]]:
    """One server for many tests, over a fleet that is made anew for each of them."""
    shared = MemoryAnswers()
    with served(shared) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield shared, client


@pytest.fixture
def answers(serving: tuple[MemoryAnswers, httpx.Client]) -> MemoryAnswers:
    serving[0].__init__()  # type: ignore[misc]
    return serving[0]


@pytest.fixture
def http(serving: tuple[MemoryAnswers, httpx.Client], answers: MemoryAnswers) -> httpx.Client:
    """Plain HTTP to the real server over the fleet in memory."""
    return serving[1]
