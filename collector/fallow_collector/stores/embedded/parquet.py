"""Writing Parquet so that a name is either absent or whole, whatever happens."""

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fallow_collector.stores.store import Series
from fallow_proto.durable import sync_folder

from .columns import TAGS, encodings
from .files import File, FileKind, file_name

ASIDE = ".aside"
REPLACES = b"fallow.replaces"
"""In an hour file: the numbers of the slices it was made of, for whoever must rebuild a lost manifest."""

_ROW_GROUP = {
    FileKind.SLICE: 32_768,  # compaction reads slices in pieces, and a row group is the least it can read
    FileKind.HOUR: 262_144,  # a query for one device reads one; larger ones compress no better
    FileKind.MINUTE: 65_536,
}
_NOBODY = Series("", "", "", "", "", "")


class ParquetFile:
    """A file that gets its name when it is whole and on the disk; an exception leaves nothing.

    Raises OSError and pa.ArrowException.
    """

    def __init__(
        self, folder: Path, kind: FileKind, number: int, arrived: float, schema: pa.Schema, replaces: Iterable[int] = ()
    ) -> None:
        self._folder, self._kind, self._number, self._arrived = folder, kind, number, arrived
        self._name = file_name(kind, number, arrived)
        self._aside = folder / (self._name + ASIDE)
        encoded = encodings(schema)
        numbers = " ".join(str(number) for number in replaces)
        self._schema = schema.with_metadata({REPLACES: numbers.encode()} if numbers else None)
        self._sink = self._aside.open("wb", buffering=0)
        try:
            self._writer = pq.ParquetWriter(
                self._sink, self._schema, compression="zstd", write_statistics=["series", "time"],
                write_page_checksum=True,
                use_dictionary=[name for name in schema.names if name not in encoded], column_encoding=encoded,
            )
        except BaseException:
            self._drop()
            raise
        self._rows, self._first_ms, self._last_ms = 0, 2**63 - 1, -(2**63)

    def add(self, rows: pa.Table, newest: str = "time") -> None:
        """Rows sorted by series and time, later in that order than all before; newest: the column that dates them."""
        if not rows.num_rows:
            return
        self._writer.write_table(rows.select(self._schema.names).cast(self._schema), _ROW_GROUP[self._kind])
        self._rows += rows.num_rows
        self._first_ms = min(self._first_ms, pc.min(rows["time"]).cast(pa.int64()).as_py())
        self._last_ms = max(self._last_ms, pc.max(rows[newest]).cast(pa.int64()).as_py())

    def finish(self) -> File:
        """Make it durable under its name."""
        self._writer.close()
        os.fsync(self._sink)
        size = os.fstat(self._sink.fileno()).st_size
        self._sink.close()
        self._aside.rename(self._folder / self._name)
        sync_folder(self._folder)
        return File(
            self._name, self._kind, self._number, self._arrived,
            self._first_ms, self._last_ms, self._rows, size, tuple(self._schema.names),
        )

    def __enter__(self) -> "ParquetFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError, pa.ArrowException):  # on a full disk it cannot even be given up in order
            self._writer.close()
        self._drop()

    def _drop(self) -> None:
        self._sink.close()
        self._aside.unlink(missing_ok=True)


def is_damaged(path: Path) -> bool:
    """Whether a file is missing or some value of it cannot be read. Reads all of it."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group)
    except pa.ArrowInvalid:
        return True
    except OSError as error:
        # Arrow's own findings have no errno. Too many open files, say, is no fault of the file's.
        if error.errno not in (None, errno.ENOENT, errno.EISDIR, errno.EIO):
            raise
        return True
    return False


def with_tags(rows: pa.Table, tags: Mapping[int, Series]) -> pa.Table:
    """Rows that have a column `series`, with the columns of its tags, so that the file explains itself."""
    numbers, position = np.unique(rows["series"].to_numpy(), return_inverse=True)
    known = [tags.get(int(number), _NOBODY) for number in numbers]
    for place, tag in enumerate(TAGS):
        words = pa.array([series[place] for series in known], pa.string()).dictionary_encode()
        column = pa.DictionaryArray.from_arrays(words.indices.take(pa.array(position)), words.dictionary)
        rows = rows.append_column(tag, column)
    return rows


def pieces(counts: Iterable[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """Ranges of series, both ends included, of at most so many rows each, or of one series.

    counts: (series, rows), by rising series.
    """
    found: list[tuple[int, int]] = []
    size = 0
    for series, rows in counts:
        if found and size + rows <= most:
            found[-1] = (found[-1][0], series)
            size += rows
        else:
            found.append((series, series))
            size = rows
    return found
