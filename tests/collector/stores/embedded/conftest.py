import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fallow_collector.stores.embedded import EmbeddedSettings, EmbeddedStore
from fallow_collector.stores.store import Source

Ranges = dict[Source, list[tuple[int, int]]]


class Place:
    """A directory, and the store that is open on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = EmbeddedSettings(min_free_gib=0)
        self.store: EmbeddedStore | None = None

    def open(self) -> tuple[EmbeddedStore, Ranges]:
        self.close()
        store = EmbeddedStore(self.directory, self.settings)
        committed = store.open()
        self.store = store
        return store, {source: list(ranges) for source, ranges in committed.items()}

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None

    def files(self, pattern: str) -> list[Path]:
        return sorted(self.directory.glob(pattern))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "store")
    yield place
    place.close()


def maintain_until(store: EmbeddedStore, now: float, done: Callable[[dict[str, float]], bool]) -> None:
    """Let the store work as if it were `now`, until its facts say that it is done."""
    give_up = time.monotonic() + 60
    while not done(store.facts()):
        assert time.monotonic() < give_up, store.facts()
        store.maintain(now)
        time.sleep(0.002)


def close_slices(store: EmbeddedStore, now: float) -> None:
    maintain_until(store, now, lambda facts: facts["hot_slices"] == 0)


def compact(store: EmbeddedStore, now: float) -> None:
    maintain_until(store, now, lambda facts: facts["hot_slices"] == facts["slice_files"] == 0)
