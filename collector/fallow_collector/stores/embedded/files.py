"""Closed files: their names, and the view of everything that queries may read."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from threading import Lock
from typing import NamedTuple

from .hot import HotSlice


class FileKind(StrEnum):
    SLICE = "slice"  # some minutes of rows, by arrival
    HOUR = "hour"  # the slices whose first row arrived in one hour
    MINUTE = "minute"  # the roll-ups of an hour file, one row a minute


class File(NamedTuple):
    """A line of the manifest. A row is in one slice or hour file only; an hour file and its roll-ups share a number."""

    name: str
    kind: FileKind
    number: int
    arrived: float  # unix seconds: when the first of its rows came
    first_ms: int
    last_ms: int  # time of its newest row
    rows: int
    bytes: int
    columns: tuple[str, ...]


_NAME = re.compile(r"(slice|hour|minute)-(\d{8}T\d{6}Z)-(\d{8,})\.parquet")


def file_name(kind: FileKind, number: int, arrived: float) -> str:
    """Names sort by arrival and are never used again."""
    return f"{kind}-{datetime.fromtimestamp(arrived, UTC):%Y%m%dT%H%M%SZ}-{number:08d}.parquet"


def parse_name(name: str) -> tuple[FileKind, int, float] | None:
    """Kind, number and arrival that a name says; None for a file that is not the store's."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    arrived = datetime.strptime(match[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    return FileKind(match[1]), int(match[3]), arrived


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that may be read: it is replaced, never changed, so that a query sees each row once."""

    hot: tuple[HotSlice, ...] = ()  # oldest first
    files: tuple[File, ...] = ()

    def without(self, names: Collection[str]) -> "Contents":
        return replace(self, files=tuple(file for file in self.files if file.name not in names))


class Shelf:
    """Where the threads of the store find what it holds now."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.contents = Contents()

    def change(self, how: Callable[[Contents], Contents]) -> None:
        with self._lock:
            self.contents = how(self.contents)
