"""DuckDB as rules use it: nothing but what is handed to it, one thread, and a bound on memory and time."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

import duckdb

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # the other core of a small collector is its event loop's
    "memory_limit": "256MiB",
    "max_temp_directory_size": "0KiB",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # a name in a query must never find a variable of this program
}
_SETTINGS = (
    # With both, x / 0 is null. By default it is infinite, with the first alone the end of the whole query; and 0 / 0 is
    # NaN, of which DuckDB says that it is greater than every number.
    "ieee_floating_point_ops = false",
    "error_on_division_by_zero = false",
    "max_expression_depth = 100",  # a parser that recurses as deeply as its input says overflows
    "enable_external_access = false",
    "lock_configuration = true",
)


def connect() -> duckdb.DuckDBPyConnection:
    """An empty instance of its own, for one thread at a time."""
    connection = duckdb.connect(":memory:", config=_CONFIG)
    for setting in _SETTINGS:
        connection.execute(f"SET {setting}")
    return connection


@contextmanager
def bounded(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """What still runs after so many seconds fails with duckdb.InterruptException."""
    timer = Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # else it might interrupt what comes next
