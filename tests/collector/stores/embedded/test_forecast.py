"""When the store is full: out of what it gained in the last hour, and what leaves by age."""

import pytest

from fallow_collector.stores.embedded.forecast import Forecast, Room, full_in_s
from fallow_collector.stores.embedded.settings import EmbeddedSettings

SETTINGS = EmbeddedSettings(max_gib=50, min_free_gib=5, raw_days=7)
GIB = 2.0**30
HOUR, DAY = 3600.0, 86400.0
THEN = Room(at=0.0, left=40 * GIB, removed=0.0, squeezed=0.0, raw=5 * GIB, oldest_s=DAY)


def after_an_hour(**changed: float) -> Room:
    return THEN._replace(at=HOUR, oldest_s=THEN.oldest_s + HOUR)._replace(**changed)


def test_a_store_that_fills_before_its_oldest_rows_are_due_says_when() -> None:
    assert full_in_s(THEN, after_an_hour(left=39 * GIB), SETTINGS) == pytest.approx(39 * HOUR)


def test_a_store_that_does_not_grow_is_never_full() -> None:
    assert full_in_s(THEN, after_an_hour(), SETTINGS) is None
    assert full_in_s(THEN, after_an_hour(left=41 * GIB), SETTINGS) is None


def test_a_store_whose_rows_leave_by_age_in_time_is_never_full() -> None:
    daily = 5 * GIB  # 35 GiB in 7 days, and 40 are there
    now = after_an_hour(left=40 * GIB - daily / 24, raw=daily + daily / 24)
    assert full_in_s(THEN, now, SETTINGS) is None


def test_what_grows_beside_rows_as_they_came_fills_it_in_the_end() -> None:
    then = THEN._replace(left=1 * GIB, raw=35 * GIB, oldest_s=8 * DAY)
    hourly = 35 * GIB / (7 * 24)  # as much leaves as comes; and roll-ups grow by a tenth of it
    now = then._replace(at=HOUR, left=1 * GIB - 0.1 * hourly, removed=hourly, oldest_s=8 * DAY)
    assert full_in_s(then, now, SETTINGS) == pytest.approx((1 * GIB - 0.1 * hourly) / (0.1 * hourly) * HOUR)


def test_it_does_not_matter_whether_a_file_of_old_rows_went_just_before_or_just_after() -> None:
    then = THEN._replace(left=1 * GIB, raw=35 * GIB, oldest_s=8 * DAY)
    hourly = 35 * GIB / (7 * 24)
    before = then._replace(at=HOUR, left=1 * GIB - hourly)
    after = then._replace(at=HOUR, left=1 * GIB, removed=hourly)
    assert full_in_s(then, before, SETTINGS) is None
    assert full_in_s(then, after, SETTINGS) is None


def test_what_others_put_on_the_disk_counts_as_well() -> None:
    then, now = (
        Room(at, left, 0.0, 0.0, 0.0, 0.0) for at, left in ((0.0, 2 * GIB), (HOUR, 1 * GIB))
    )
    assert full_in_s(then, now, SETTINGS) == pytest.approx(HOUR)


def test_a_store_that_had_to_drop_young_rows_is_full() -> None:
    assert full_in_s(THEN, after_an_hour(squeezed=1.0), SETTINGS) == 0.0
    assert full_in_s(THEN, after_an_hour(left=-1.0), SETTINGS) == 0.0


def test_ten_minutes_must_be_seen_before_anything_is_said() -> None:
    assert full_in_s(THEN, THEN._replace(at=599.0, left=1 * GIB), SETTINGS) is None


def test_the_last_hour_counts_and_no_more() -> None:
    forecast = Forecast(SETTINGS)
    assert forecast.full_in_s is None
    for minute in range(180):
        used = 10 * GIB if minute < 120 else 10 * GIB + (minute - 119) * GIB / 60
        forecast.look(
            {"bytes": used, "free_bytes": 100 * GIB, "removed_bytes_total": 0.0, "squeezed_files_total": 0.0,
             "raw_bytes": used, "oldest_row_unix_seconds": 0.0},
            at=minute * 60.0, wall=DAY + minute * 60.0,
        )
    assert forecast.full_in_s == pytest.approx(39 * HOUR)
