"""DuckDB as the store uses it: one capped instance in memory, to which hot slices are attached as files."""

from pathlib import Path
from typing import Any

import duckdb

_CONFIG = {
    # Two cores are what a small collector has, and its event loop needs one of them.
    "threads": 2,
    # A full hot slice takes a third of a gigabyte; beyond the limit DuckDB spills to disk.
    "memory_limit": "1GiB",
    # Never checkpoint: a slice lives for minutes and then becomes Parquet, so compressing its rows into the database
    # file first would be work thrown away. (Checkpoints made one write in a hundred take 0.4 to 2 s.)
    "checkpoint_threshold": "1TB",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "max_temp_directory_size": "4GiB",
}


class Engine:
    """Raises duckdb.Error; a duckdb.FatalException means that nothing works until restart()."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._instance = self._connect()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        config: dict[str, Any] = {**_CONFIG, "temp_directory": str(self._folder / "spill")}
        instance = duckdb.connect(":memory:", config=config)
        instance.execute("PRAGMA disable_checkpoint_on_shutdown")
        instance.execute(f"SET allowed_directories = [{quoted(self._folder)}]")
        instance.execute("SET enable_external_access = false")
        instance.execute("SET lock_configuration = true")
        return instance

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection for one thread."""
        return self._instance.cursor()

    def attach(self, path: Path, alias: str) -> None:
        with self.cursor() as cursor:
            cursor.execute(f"ATTACH {quoted(path)} AS {alias}")

    def detach(self, alias: str) -> None:
        """Queries that are reading it finish first."""
        with self.cursor() as cursor:
            cursor.execute(f"DETACH {alias}")

    def restart(self) -> None:
        """A new instance without anything attached."""
        self._instance.close()
        self._instance = self._connect()

    def close(self) -> None:
        self._instance.close()


def quoted(path: Path) -> str:
    """A path as an SQL literal."""
    text = str(path).replace("'", "''")
    return f"'{text}'"
