"""A recording: what it is made of, and how it lies in a file.

A file is gzip of frames, each four bytes of length, big end first, and a msgpack array. First a Header, then the Rows
of the whole state, then what went in and what came out of the judgement, in order, and an End. Arrays are the bytes of
numpy arrays in the dtypes of the code that wrote them; the Header names those that may differ between versions.
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fallow_collector.fleet.registry import Identity, Node
from fallow_collector.fleet.roster import GroupKey
from fallow_collector.idle.settings import IdleSettings

FORMAT = 1
LONGEST = 256 * 2**20  # bytes of one frame; more is damage
_LENGTH = struct.Struct(">I")


class Header(msgspec.Struct, array_like=True, tag=True, frozen=True):
    format: int
    version: str  # of the collector
    settings: IdleSettings
    dtypes: dict[str, str]
    epoch: str  # of the view
    revision: int
    now: float  # monotonic seconds
    wall: float  # unix seconds
    count: int  # rows that follow in Rows
    nodes: list[Node]
    groups: list[GroupKey]
    ledgers: list[str]
    declared_class: dict[int, str]


class Rows(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """The next rows of the state: columns of the fleet, of the judgement and of the view, by name."""

    identities: list[Identity]
    fleet: dict[str, bytes]
    engine: dict[str, bytes]
    shown: dict[str, bytes]


class Hello(msgspec.Struct, array_like=True, tag=True, frozen=True):
    hello: bytes  # fallow.v1.Hello
    receipt: float
    wall: float


class Gone(msgspec.Struct, array_like=True, tag=True, frozen=True):
    node: str
    receipt: float


class Named(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """A node got its number."""

    node: str


class Added(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """A layout named a device that was not known."""

    node: int
    uuid: str


class Block(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """What the numbers of some of the reports that follow mean; blocks are numbered in their order."""

    group: str
    interval_s: float
    rows: bytes
    gauges: tuple[str, ...]
    counters: tuple[str, ...]


class Values(msgspec.Struct, array_like=True, frozen=True):
    block: int
    gauges: bytes
    counters: bytes
    reasons: bytes | None


class Report(msgspec.Struct, array_like=True, frozen=True):
    node: int
    epoch: str
    seq: int
    previous: int
    time_ms: int
    receipt: float
    values: list[Values]


class Reports(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """A micro-batch that was judged."""

    reports: list[Report]


class Declared(msgspec.Struct, array_like=True, tag=True, frozen=True):
    uuid: str
    node: str
    site: str
    vendor: str
    model: str
    device_class: str


class Retired(msgspec.Struct, array_like=True, tag=True, frozen=True):
    row: int


class Accepted(msgspec.Struct, array_like=True, tag=True, frozen=True):
    row: int
    power_watts: float
    memory_bytes: float


class Restarted(msgspec.Struct, array_like=True, tag=True, frozen=True):
    rows: bytes
    short: bool


class Owners(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """Rows whose owners or services are others than before, and all that is said of these now."""

    rows: bytes
    columns: dict[str, bytes]
    ledgers: list[str]


class Shown(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """A snapshot was made. rows, records: what changed with it, and what is shown of it now."""

    now: float
    wall: float
    revision: int
    rows: bytes
    records: bytes


class End(msgspec.Struct, array_like=True, tag=True, frozen=True):
    reason: str


Frame = (
    Header | Rows | Hello | Gone | Named | Added | Block | Reports | Declared | Retired | Accepted | Restarted | Owners
    | Shown | End
)
_DECODER: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


class BadRecording(Exception):
    """The file is no recording that can be replayed; the message says what was found and what was expected."""


def encoded(frame: Frame) -> bytes:
    body = msgspec.msgpack.encode(frame)
    return _LENGTH.pack(len(body)) + body


def read(path: Path) -> Iterator[Frame]:
    """The frames of a file. Raises BadRecording."""
    try:
        with gzip.open(path) as file:
            while frame := _next(file):
                yield frame
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadRecording(f"{path}: it is no recording, damaged, or was cut off: {error}") from error
    except OSError as error:
        raise BadRecording(f"{path}: it cannot be read: {error.strerror}; expected a recording") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise BadRecording(
            f"{path}: a frame cannot be understood: {error}; expected a recording by this version of the collector"
        ) from error


def _next(file: gzip.GzipFile) -> Frame | None:
    length = file.read(_LENGTH.size)
    if not length:
        return None
    (size,) = _LENGTH.unpack(length) if len(length) == _LENGTH.size else (LONGEST + 1,)
    if size > LONGEST:
        raise EOFError(f"a frame of {size} bytes")
    body = file.read(size)
    if len(body) < size:
        raise EOFError(f"{len(body)} of {size} bytes of a frame")
    return _DECODER.decode(body)
