from fallow_collector.stores.embedded import EmbeddedSettings, EmbeddedStore
from fallow_collector.stores.embedded.files import File, FileKind
from fallow_collector.stores.embedded.retention import Disk, Doomed, doomed, newest
from fallow_collector.stores.store import Batch, Source, Span
from tests.collector.stores.contract import GPU, MOVED, NODE, START, ask, batch, rows, seconds
from tests.collector.stores.embedded.conftest import Place, close_slices, compact, maintain_until

GIB = 2**30
DAY = 86_400
PLENTY = Disk(used=0, free=1e15)
SETTINGS = EmbeddedSettings(max_gib=10, min_free_gib=5, raw_days=7, rollup_days=400)


def file(kind: FileKind, day: float, size: float = GIB) -> File:
    return File(f"{kind}-{day}", kind, int(day), day * DAY, 0, round(day * DAY * 1000), 100, round(size), ())


HOURS = [file(FileKind.HOUR, day) for day in range(3)]
MINUTES = [file(FileKind.MINUTE, day) for day in range(3)]
SLICE = file(FileKind.SLICE, 3)
ALL = [*MINUTES, SLICE, *HOURS]


def test_nothing_goes_while_there_is_room_and_nothing_is_old() -> None:
    assert doomed(ALL, PLENTY, SETTINGS, 5 * DAY) == Doomed((), ())


def test_rows_go_after_raw_days_and_rollups_after_rollup_days() -> None:
    assert doomed(ALL, PLENTY, SETTINGS, 8.5 * DAY).aged == (HOURS[0], HOURS[1])
    assert doomed(ALL, PLENTY, SETTINGS, 401.5 * DAY).aged == (MINUTES[0], MINUTES[1], SLICE, *HOURS)


def test_over_the_size_the_oldest_rows_go_first_and_rollups_last() -> None:
    def squeezed(used_gib: float) -> tuple[File, ...]:
        return doomed(ALL, Disk(used_gib * GIB, 1e15), SETTINGS, 5 * DAY).squeezed

    assert squeezed(10) == ()
    assert squeezed(10.5) == (HOURS[0],)
    assert squeezed(12.5) == tuple(HOURS)
    assert squeezed(14.5) == (*HOURS, SLICE, MINUTES[0])


def test_too_little_free_space_makes_room_as_well() -> None:
    assert doomed(ALL, Disk(0, 3.5 * GIB), SETTINGS, 5 * DAY).squeezed == (HOURS[0], HOURS[1])


def test_what_goes_for_its_age_makes_room_too() -> None:
    assert doomed(ALL, Disk(12 * GIB, 1e15), SETTINGS, 8.5 * DAY) == Doomed((HOURS[0], HOURS[1]), ())


def test_ages_count_from_the_newest_row_when_the_clock_is_ahead_of_it() -> None:
    assert newest(ALL, 2.5 * DAY) == 2.5 * DAY
    assert newest(ALL, 5000 * DAY) == 3 * DAY
    assert doomed(ALL, PLENTY, SETTINGS, newest(ALL, 5000 * DAY)) == Doomed((), ())
    assert newest([], 5 * DAY) == 0.0


def _two_hours(place: Place) -> None:
    store, _ = place.open()
    for hour in range(2):
        at = [hour * 3600, hour * 3600 + 1, hour * 3600 + 60]
        store.write(batch(rows(at, {"power_watts": [2.0, 4.0, 9.0]}), lo=hour), START + hour * 3600)
        close_slices(store, START + hour * 3600 + 601)
        compact(store, START + hour * 3600 + 3600)


def _row_of_another(store: EmbeddedStore, at: float, number: int = 1) -> float:
    """Something comes so many seconds after START; unix seconds when it is in a file, and retention is due again."""
    later = rows([at], {"power_watts": [1.0]}, series=1)
    store.write(Batch((later,), [Span(Source("node-2", "epoch-1"), number, number)], (GPU, MOVED)), START + at)
    close_slices(store, START + at + 601)
    return START + at + 612


def test_rows_past_their_days_are_answered_from_rollups(place: Place) -> None:
    _two_hours(place)
    store = place.store
    assert store is not None
    before = store.history(ask("power_watts", start=0, end=7200, step=60))
    at = _row_of_another(store, 3600 + 7 * DAY)
    maintain_until(store, at, lambda facts: facts["aged_files_total"] == 1)
    assert seconds(store.history(ask("power_watts"))) == [3600, 3601, 3660]
    after = store.history(ask("power_watts", start=0, end=7200, step=60))
    assert seconds(after) == seconds(before) == [0, 60, 3600, 3660]
    assert after.values.tolist() == before.values.tolist() == [[3.0], [9.0], [3.0], [9.0]]
    coarse = store.history(ask("power_watts", start=0, end=7200, step=7200))
    assert coarse.values.tolist() == [[5.0]]
    at = _row_of_another(store, 7200 + 400 * DAY, number=2)
    maintain_until(store, at, lambda facts: not len(store.history(ask("power_watts", step=60)).time))


def test_the_ranges_of_a_source_are_forgotten_when_nothing_of_it_is_left(place: Place) -> None:
    _two_hours(place)
    store = place.store
    assert store is not None
    at = _row_of_another(store, 7200 + 7 * DAY)
    maintain_until(store, at, lambda facts: facts["aged_files_total"] == 2)
    assert NODE not in place.open()[1]


def test_a_clock_years_ahead_removes_no_row_and_forgets_no_range(place: Place) -> None:
    _two_hours(place)
    store = place.store
    assert store is not None
    files = place.files("parquet/*")
    for years in range(1, 5):
        store.maintain(START + years * 3650 * DAY)
    assert place.files("parquet/*") == files
    assert place.open()[1] == {NODE: [(0, 1)]}


def test_ranges_are_kept_while_an_agent_may_still_send_them_again(place: Place) -> None:
    place.settings = EmbeddedSettings(min_free_gib=0, raw_days=1)
    _two_hours(place)
    store = place.store
    assert store is not None
    at = _row_of_another(store, 4 * DAY)
    maintain_until(store, at, lambda facts: facts["aged_files_total"] == 2)
    assert place.open()[1][NODE] == [(0, 1)]


def test_a_store_whose_clock_is_set_back_closes_slices_and_makes_room_all_the_same(place: Place) -> None:
    place.settings = EmbeddedSettings(min_free_gib=0, max_gib=1 / GIB)
    store, _ = place.open()
    store.write(batch(rows([0], {"power_watts": [2.0]})), START)
    maintain_until(store, START + 1, lambda facts: facts["bytes"] > 0)
    close_slices(store, START - DAY)
    maintain_until(store, START - DAY + 11, lambda facts: facts["squeezed_files_total"] == 1)


def test_files_squeezed_out_are_counted_and_the_rest_still_answers(place: Place) -> None:
    _two_hours(place)
    place.close()
    sizes = [path.stat().st_size for path in place.files("parquet/*")]
    place.settings = EmbeddedSettings(min_free_gib=0, max_gib=(sum(sizes) - 1) / GIB)
    store, _ = place.open()
    maintain_until(store, START + 7200, lambda facts: facts["squeezed_files_total"] == 1)
    assert store.facts()["squeezed_rows_total"] == 3
    assert seconds(store.history(ask("power_watts"))) == [3600, 3601, 3660]
    assert seconds(store.history(ask("power_watts", start=0, end=7200, step=60))) == [0, 60, 3600, 3660]
