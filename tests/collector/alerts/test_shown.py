"""What people read of a value."""

import pytest

from fallow_collector.alerts.schema import TABLES
from fallow_collector.alerts.shown import lasting, shown


@pytest.mark.parametrize(("value", "text"), [
    (None, "unknown"), (True, "true"), (False, "false"), ("idle", "idle"), (0.0, "0"), (0.123456, "0.1235"),
    (9999.6, "1e+04"), (12345.6, "12,350"), (8.59e10, "85,900,000,000"), (1e20, "1e+20"),
])
def test_a_number_has_four_digits(value: str | float | None, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(("seconds", "text"), [
    (None, "unknown"), (0.0, "0 s"), (1.23456, "1.235 s"), (-2.5, "-2.5 s"), (59.4, "59.4 s"), (59.6, "1 min"),
    (63.8, "1 min 4 s"), (7200.0, "2 h"), (7260.0, "2 h 1 min"), (3599.9, "1 h"), (90_061.0, "1 d 1 h"),
    (86_400.0, "1 d"), (-93_600.0, "-1 d 2 h"), (86_460.0, "1 d 1 min"),
])
def test_seconds_have_the_two_units_that_say_most(seconds: float | None, text: str) -> None:
    assert lasting(seconds) == text


def test_what_lasts_is_a_number_of_seconds() -> None:
    found = {column.name for table in TABLES.values() for column in table.columns.values() if column.lasts}
    assert found == {
        "age_s", "phase_s", "clock_skew_s", "spool_dropped_age_s", "unacknowledged_s", "certificate_expires_in_s",
        "state_s", "open_s", "up_s", "store_full_in_s",
    }
