"""What a crash leaves between any two steps of the upkeep is finished or undone at the next start."""

import shutil
from pathlib import Path

import pytest

from fallow_collector.stores.embedded import closing, hot
from fallow_collector.stores.embedded.catalogue import Catalogue
from fallow_collector.stores.embedded.engine import Engine
from fallow_collector.stores.embedded.files import File
from fallow_collector.stores.embedded.quarantine import Quarantine
from fallow_collector.stores.embedded.recovery import recover_slices
from tests.collector.stores.contract import NODE, START, ask, batch, rows, seconds
from tests.collector.stores.embedded.conftest import Place, close_slices, compact


class Steps:
    """The steps of closing a slice, each by hand."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.engine = Engine(directory)
        self.catalogue = Catalogue(directory / "catalogue.sqlite")
        (self.hot,) = recover_slices(
            self.engine, directory / "hot", self.catalogue.closed_through(), Quarantine(directory / "quarantine")
        )
        self.file: File | None = None

    def write_file(self) -> None:
        self.file = closing.close(self.engine, self.hot, self.directory / "parquet", self.catalogue.tags())

    def tell_catalogue(self) -> None:
        with self.engine.cursor() as cursor:
            ranges = hot.committed(cursor, self.hot)
        self.catalogue.close_slice(self.hot.number, self.file, ranges)

    def unlink_log(self) -> None:
        self.hot.log.unlink()

    def unlink_database(self) -> None:
        self.hot.path.unlink()


@pytest.mark.parametrize("done", range(5))
def test_closing_a_slice_may_stop_after_any_step(place: Place, done: int) -> None:
    store, _ = place.open()
    store.write(batch(rows([1, 2], {"power_watts": [1.0, 2.0]}), lo=1, hi=2), START)
    place.close()
    steps = Steps(place.directory)
    for step in (steps.write_file, steps.tell_catalogue, steps.unlink_log, steps.unlink_database)[:done]:
        step()
    steps.catalogue.close()
    steps.engine.close()

    store, committed = place.open()
    assert committed == {NODE: [(1, 2)]}
    assert seconds(store.history(ask("power_watts"))) == [1, 2]
    assert store.facts()["hot_rows"] == (2 if done < 2 else 0)
    assert store.facts()["quarantined_files_total"] == 0
    assert len(place.files("parquet/*")) == (0 if done < 2 else 1)
    store.write(batch(rows([3], {"power_watts": [3.0]}), lo=3), START + 1)
    close_slices(store, START + 602)
    compact(store, START + 3600)
    assert seconds(store.history(ask("power_watts"))) == [1, 2, 3]
    assert place.open()[1] == {NODE: [(1, 3)]}


def test_files_that_were_being_written_are_removed_and_foreign_files_are_left_alone(place: Place) -> None:
    store, _ = place.open()
    store.write(batch(rows([1], {"power_watts": [1.0]})), START)
    close_slices(store, START + 601)
    place.close()
    (slice_file,) = place.files("parquet/slice-*")
    orphan = slice_file.with_name("hour-20251122T000000Z-00000009.parquet")
    shutil.copy(slice_file, orphan)
    half = slice_file.with_name("hour-20251122T000000Z-00000009.parquet.aside")
    half.write_bytes(slice_file.read_bytes()[:100])
    foreign = slice_file.with_name("notes.txt")
    foreign.write_text("mine")
    store, _ = place.open()
    assert place.files("parquet/*") == sorted([slice_file, foreign])
    assert seconds(store.history(ask("power_watts"))) == [1]


def test_compaction_may_stop_before_and_after_the_catalogue_knows(place: Place) -> None:
    store, _ = place.open()
    for number in range(3):
        store.write(batch(rows([number * 700], {"power_watts": [1.0]}), lo=number + 1), START + number * 700)
        close_slices(store, START + number * 700 + 601)
    place.close()
    before = place.directory.with_name("before")
    shutil.copytree(place.directory, before)
    store, _ = place.open()
    compact(store, START + 3600)
    place.close()

    hour = [*place.files("parquet/hour-*"), *place.files("parquet/minute-*")]
    for file in hour:
        shutil.copy(file, before / "parquet")
    files, folder = place.files("parquet/*"), place.directory
    place.directory = before  # files named, catalogue not yet told
    store, _ = place.open()
    assert seconds(store.history(ask("power_watts"))) == [0, 700, 1400]
    assert len(place.files("parquet/slice-*")) == 3
    slices = place.files("parquet/slice-*")
    place.close()

    for file in slices:
        shutil.copy(file, folder / "parquet")
    place.directory = folder  # catalogue told, slices not yet unlinked
    store, _ = place.open()
    assert seconds(store.history(ask("power_watts"))) == [0, 700, 1400]
    assert place.files("parquet/*") == files


def test_a_crash_in_the_middle_of_compaction_leaves_the_slices(place: Place) -> None:
    store, _ = place.open()
    store.write(batch(rows([0], {"power_watts": [1.0]})), START)
    close_slices(store, START + 601)
    place.close()
    with_catalogue = Catalogue(place.directory / "catalogue.sqlite")
    engine = Engine(place.directory)
    work = closing.compact(
        engine, with_catalogue.files(), place.directory / "parquet", with_catalogue.tags()
    )
    assert next(work) is None
    assert len(place.files("parquet/*.aside")) == 2
    work.close()
    assert not place.files("parquet/*.aside")
    engine.close()
    with_catalogue.close()
    store, _ = place.open()
    assert seconds(store.history(ask("power_watts"))) == [0]
