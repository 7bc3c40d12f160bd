"""The fences on disk, beside the spool: a token that was confirmed is known after any kill and any loss of power.

Written aside, synced, renamed, and the folder synced: whoever reads finds the old file or the new one.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from fallow_agent.errors import FencesDamaged, FencesError
from fallow_agent.fences import Kept, fault
from fallow_proto.durable import replace
from fallow_proto.v1 import telemetry_pb2 as pb

FILE = "fences.json"
VERSION = 1


class _Row(msgspec.Struct, frozen=True):
    device: str
    token: int
    held: bool
    lease_id: str
    holder: str


class _Content(msgspec.Struct, frozen=True):
    version: int
    fences: list[_Row]


def read(path: Path) -> dict[str, pb.DeviceFence]:
    """By uuid; empty when there is no file yet. Raises FencesError, of which FencesDamaged is for good."""
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise FencesError(f"{path} cannot be read: {error.strerror}; this user needs to read and write it") from error
    try:
        content = msgspec.json.decode(text, type=_Content)
        if content.version != VERSION:
            raise FencesDamaged(f"{path} is of version {content.version}, expected {VERSION}")
        return _checked(path, [pb.DeviceFence(**msgspec.structs.asdict(row)) for row in content.fences])
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise FencesDamaged(f"{path} is not what was written: {error}") from error


def write(path: Path, kept: Kept) -> None:
    """On disk for good when it returns. Raises FencesError; then the file is the one that was there before."""
    rows = [_Row(fence.device, fence.token, fence.held, fence.lease_id, fence.holder) for fence in kept.values()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, msgspec.json.encode(_Content(VERSION, rows)), mode=0o600)
    except OSError as error:
        raise FencesError(f"{path} cannot be written: {error.strerror}; see its disk and its folder's owner") from error


def set_aside(path: Path) -> Path:
    """Out of the way of a new one; where it is now. Raises FencesError."""
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
    except OSError as error:
        raise FencesError(f"{path} cannot be renamed: {error.strerror}") from error
    return aside


def _checked(path: Path, fences: Iterable[pb.DeviceFence]) -> dict[str, pb.DeviceFence]:
    kept: dict[str, pb.DeviceFence] = {}
    for fence in fences:
        if found := fault(fence):
            raise FencesDamaged(f"{path} is not what was written: {found}")
        kept[fence.device] = fence
    return kept
