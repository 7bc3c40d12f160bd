import sqlite3
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from fallow_collector.stores.embedded import EmbeddedStore
from fallow_collector.stores.store import StoreError
from tests.collector.stores.contract import NODE, START, Reopen, StoreContract, ask, batch, rows, seconds
from tests.collector.stores.embedded.conftest import Place, close_slices, compact


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    def reopen(self, place: Place) -> Reopen:
        return place.open


class TestEmbeddedStoreAfterClosing(TestEmbeddedStore):
    """The same of rows in Parquet."""

    def commit(self, store: EmbeddedStore, *batches: object) -> None:  # type: ignore[override]
        super().commit(store, *batches)  # type: ignore[arg-type]
        close_slices(store, START + 601)


class TestEmbeddedStoreAfterCompaction(TestEmbeddedStore):
    """The same of rows in hour files."""

    def commit(self, store: EmbeddedStore, *batches: object) -> None:  # type: ignore[override]
        super().commit(store, *batches)  # type: ignore[arg-type]
        close_slices(store, START + 601)
        compact(store, START + 3600)


def test_a_second_collector_on_the_directory_is_told_so(place: Place) -> None:
    place.open()
    with pytest.raises(StoreError, match="held by another process"):
        EmbeddedStore(place.directory, place.settings).open()


def test_a_directory_of_a_newer_version_is_refused_and_not_touched(place: Place) -> None:
    place.open()
    place.close()
    catalogue = place.directory / "catalogue.sqlite"
    with sqlite3.connect(catalogue) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(StoreError, match=r"schema version 2.*up to 1.*newer collector"):
        place.open()
    connection = sqlite3.connect(catalogue)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


def test_a_directory_that_cannot_be_made_is_named(place: Place) -> None:
    place.directory.write_text("a file")
    with pytest.raises(StoreError, match=f"the store in {place.directory} cannot be opened"):
        place.open()


def test_columns_of_another_version_are_ignored(place: Place) -> None:
    store, _ = place.open()
    store.write(batch(rows([1], {"future_ratio": [0.5], "power_watts": [7.0]}, {"future_total": [1.0]})), START)
    assert store.history(ask("power_watts")).values.tolist() == [[7.0]]


def test_rows_of_a_slice_that_lacks_a_column_are_not_known_in_it(place: Place) -> None:
    store, _ = place.open()
    store.write(batch(rows([1], {"power_watts": [7.0]})), START)
    older = place.files("hot/*.duckdb")[0]
    place.close()
    _alter(older, 'ALTER TABLE older.row DROP COLUMN "temperature_celsius"')
    store, committed = place.open()
    assert committed == {NODE: [(1, 1)]}
    store.write(batch(rows([2], {"power_watts": [8.0], "temperature_celsius": [40.0]}), lo=2), START)
    expected = [[7.0, None], [8.0, 40.0]]
    assert _nulls(store) == expected
    close_slices(store, START + 601)
    assert _nulls(store) == expected
    compact(store, START + 3600)
    assert _nulls(store) == expected


def _nulls(store: EmbeddedStore) -> list[list[float | None]]:
    table = store.history(ask("power_watts", "temperature_celsius"))
    return [[None if value != value else value for value in row] for row in table.values.tolist()]


def _alter(path: Path, statement: str) -> None:
    connection = duckdb.connect(":memory:")
    connection.execute("PRAGMA disable_checkpoint_on_shutdown")
    connection.execute(f"ATTACH '{path}' AS older")
    connection.execute(statement)
    connection.close()


def test_late_rows_are_found_under_their_own_time_and_counted_once(place: Place) -> None:
    """A backlog of hours ago arrives between live rows; its minute was rolled up in part already."""
    store, _ = place.open()
    store.write(batch(rows([0, 1], {"power_watts": [10.0, 20.0]}, {"energy_joules_total": [1.0, 2.0]})), START)
    close_slices(store, START + 601)
    compact(store, START + 3600)
    store.write(batch(
        rows([2, 59], {"power_watts": [30.0, 40.0]}, {"energy_joules_total": [3.0, 9.0]}),
        rows([7300], {"power_watts": [99.0]}), lo=2,
    ), START + 7300)
    places: list[Callable[[], None]] = [
        lambda: None, lambda: close_slices(store, START + 7901), lambda: compact(store, START + 10_800),
    ]
    for move in places:
        move()
        minute = store.history(ask("power_watts", "energy_joules_total", start=0, end=3600, step=60))
        assert seconds(minute) == [0]
        assert minute.values.tolist() == [[25.0, 9.0]]
        assert seconds(store.history(ask("power_watts", start=0, end=9000))) == [0, 1, 2, 59, 7300]


@pytest.mark.parametrize("then", [lambda store: None, lambda store: close_slices(store, START + 601)])
def test_nothing_is_read_twice_while_slices_become_files(
    place: Place, then: Callable[[EmbeddedStore], None]
) -> None:
    store, _ = place.open()
    store.write(batch(rows(range(100), {"power_watts": [1.0] * 100})), START)
    then(store)
    store.write(batch(rows(range(100, 200), {"power_watts": [1.0] * 100}), lo=2), START + 602)
    assert len(store.history(ask("power_watts")).time) == 200
