import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fallow_collector.stores.store import StoreError
from tests.collector.stores.contract import GPU, NODE, START, ask, batch, rows, seconds
from tests.collector.stores.embedded.conftest import Place, close_slices, compact, maintain_until

OTHER = GPU._replace(uuid="GPU-2")


def overwrite(path: Path, offset: int, what: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(what)


def ten_writes(place: Place, padding: int = 0) -> Path:
    """Ten batches of one row of the device each, and so many of another; their log."""
    store, _ = place.open()
    for second in range(10):
        store.write(batch(
            rows([second], {"power_watts": [float(second)]}),
            rows(range(padding), {"power_watts": range(padding)}, series=1), lo=second, series=[GPU, OTHER],
        ), START + second)
    place.close()
    (log,) = place.files("hot/*.wal")
    return log


def check_rows_are_those_of_the_ranges(place: Place) -> int:
    store, committed = place.open()
    count = committed[NODE][0][1] + 1 if committed else 0
    assert committed == ({NODE: [(0, count - 1)]} if count else {})
    assert seconds(store.history(ask("power_watts"))) == list(range(count))
    store.write(batch(rows([100], {"power_watts": [1.0]}), lo=100), START + 100)
    close_slices(store, START + 701)
    compact(store, START + 3600)
    assert seconds(store.history(ask("power_watts"))) == [*range(count), 100]
    return count


@pytest.mark.parametrize("missing", [1, 7, 100, 3000])
def test_a_log_that_ends_in_the_middle_of_a_write_loses_that_write_only(place: Place, missing: int) -> None:
    log = ten_writes(place)
    os.truncate(log, log.stat().st_size - missing)
    count = check_rows_are_those_of_the_ranges(place)
    assert count == 9 if missing < 100 else 0 < count < 10


def test_a_log_with_garbage_in_it_is_read_up_to_the_garbage_and_set_aside(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    log = ten_writes(place, padding=2000)
    overwrite(log, log.stat().st_size * 3 // 4, b"damaged!")
    with caplog.at_level(logging.ERROR):
        assert 0 < check_rows_are_those_of_the_ranges(place) < 10
    assert [file.name for file in place.files("quarantine/*")] == [f"{log.name}.1"]
    assert "lost=\"what came after that byte\"" in caplog.text


@pytest.mark.parametrize("spoil", [
    lambda log: overwrite(log, 0, os.urandom(log.stat().st_size)),
    lambda log: overwrite(log.with_suffix(""), 0, os.urandom(4096)),
    lambda log: log.with_suffix("").write_bytes(b""),
])
def test_a_slice_that_cannot_be_read_at_all_is_set_aside_and_the_store_goes_on(
    place: Place, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(ten_writes(place))
    with caplog.at_level(logging.ERROR):
        assert check_rows_are_those_of_the_ranges(place) == 0
    assert place.files("quarantine/*")
    assert "lost=\"its rows: some minutes at most\"" in caplog.text


def closed_hours(place: Place) -> None:
    """One row in each of three hour files."""
    store, _ = place.open()
    for hour in range(3):
        store.write(batch(rows([hour * 3600], {"power_watts": [1.0]}), lo=hour), START + hour * 3600)
        close_slices(store, START + hour * 3600 + 601)
        compact(store, START + hour * 3600 + 3600)


@pytest.mark.parametrize("spoil", [
    lambda path: path.unlink(),
    lambda path: os.truncate(path, path.stat().st_size // 2),
])
def test_a_file_that_is_missing_or_cut_short_at_start_is_counted_and_forgotten(
    place: Place, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    closed_hours(place)
    place.close()
    spoil(place.files("parquet/hour-*")[1])
    with caplog.at_level(logging.ERROR):
        store, committed = place.open()
    assert committed == {NODE: [(0, 2)]}
    assert seconds(store.history(ask("power_watts", end=20_000))) == [0, 7200]
    assert store.facts()["quarantined_files_total"] == 1
    assert "file=damaged" in caplog.text


@pytest.mark.parametrize("spoil", [
    lambda path: path.unlink(),
    lambda path: os.truncate(path, path.stat().st_size // 2),
    lambda path: overwrite(path, path.stat().st_size // 3, os.urandom(path.stat().st_size // 3)),
])
def test_a_file_that_is_damaged_while_the_store_runs_is_left_out_and_set_aside(
    place: Place, spoil: Callable[[Path], None]
) -> None:
    closed_hours(place)
    store = place.store
    assert store is not None
    (bad,) = (file for file in place.files("parquet/hour-*") if "T010000Z" in file.name)
    spoil(bad)
    assert seconds(store.history(ask("power_watts", end=20_000))) == [0, 7200]
    stepped = store.history(ask("power_watts", end=20_000, step=600, start=0))
    assert seconds(stepped) == [0, 3600, 7200]  # its roll-ups are still there
    maintain_until(store, START + 20_000, lambda facts: facts["quarantined_files_total"] == 1)
    assert not bad.exists()
    store, _ = place.open()
    assert seconds(store.history(ask("power_watts", end=20_000))) == [0, 7200]


def test_a_damaged_slice_does_not_stop_the_compaction_of_the_others(place: Place) -> None:
    store, _ = place.open()
    for number in range(3):
        store.write(batch(rows([number * 700], {"power_watts": [1.0]}), lo=number), START + number * 700)
        close_slices(store, START + number * 700 + 601)
    bad = place.files("parquet/slice-*")[1]
    os.truncate(bad, 200)
    with pytest.raises(StoreError, match="upkeep of the store failed"):
        compact(store, START + 3600)
    compact(store, START + 3620)
    maintain_until(store, START + 3640, lambda facts: facts["quarantined_files_total"] == 1)
    assert seconds(store.history(ask("power_watts"))) == [0, 1400]


def test_a_damaged_catalogue_is_set_aside_and_rebuilt_from_the_files(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    closed_hours(place)
    store = place.store
    assert store is not None
    store.write(batch(rows([10_900], {"power_watts": [5.0]}), lo=3), START + 10_900)
    place.close()
    for leftover in place.files("catalogue.sqlite-*"):
        leftover.unlink()
    overwrite(place.directory / "catalogue.sqlite", 0, os.urandom(8192))
    with caplog.at_level(logging.WARNING):
        store, committed = place.open()
    assert "catalogue=damaged" in caplog.text
    assert "catalogue=rebuilt files=6 series=1" in caplog.text
    assert committed == {NODE: [(3, 3)]}
    assert seconds(store.history(ask("power_watts", end=20_000))) == [0, 3600, 7200, 10_900]
    store.write(batch(rows([10_901], {"power_watts": [5.0]}), lo=4), START + 10_901)
    close_slices(store, START + 11_600)
    compact(store, START + 14_400)
    assert seconds(store.history(ask("power_watts", end=20_000))) == [0, 3600, 7200, 10_900, 10_901]


def test_a_rebuilt_catalogue_does_not_count_slices_that_an_hour_file_replaced(place: Place) -> None:
    store, _ = place.open()
    store.write(batch(rows([1], {"power_watts": [1.0]})), START)
    close_slices(store, START + 601)
    (slice_file,) = place.files("parquet/slice-*")
    kept = slice_file.read_bytes()
    compact(store, START + 3600)
    place.close()
    slice_file.write_bytes(kept)
    for file in place.files("catalogue.sqlite*"):
        file.unlink()
    store, _ = place.open()
    assert store.facts()["raw_rows"] == 1
    place.open()
    assert not place.files("parquet/slice-*")


def test_what_is_set_aside_never_fills_the_disk(place: Place) -> None:
    for _ in range(20):
        log = ten_writes(place)
        overwrite(log, 0, os.urandom(log.stat().st_size))
        place.open()
    assert len(place.files("quarantine/*")) == 16
