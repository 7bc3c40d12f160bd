"""Which files must go: by age, by size and for free space. Rows as they came go first, then roll-ups, oldest first."""

from collections.abc import Sequence
from typing import NamedTuple

from .files import File, FileKind
from .settings import EmbeddedSettings

_GIB = 2.0**30
_DAY_S = 86_400.0

LONGEST_SPOOL_S = 7 * _DAY_S
"""Sources are remembered for at least this long after their last report: twice what an agent's spool holds (72 h)."""


class Disk(NamedTuple):
    used: float  # bytes of all the store's files
    free: float  # bytes that its file system has left


class Doomed(NamedTuple):
    """Files to remove."""

    aged: tuple[File, ...]
    squeezed: tuple[File, ...]  # still young enough, but there is no room


def newest(files: Sequence[File], now: float) -> float:
    """What ages count from, unix seconds: now, but no later than the newest row. By a wall clock that was set years
    ahead every row is old, and no younger one comes, since agents' reports are then refused for their time."""
    return min(now, max((file.last_ms / 1000 for file in files), default=0.0))


def doomed(files: Sequence[File], disk: Disk, settings: EmbeddedSettings, now: float) -> Doomed:
    """What must go at `now`, as `newest` gives it."""
    keep_s = {
        FileKind.SLICE: settings.raw_days * _DAY_S,
        FileKind.HOUR: settings.raw_days * _DAY_S,
        FileKind.MINUTE: settings.rollup_days * _DAY_S,
    }
    aged = tuple(file for file in files if file.last_ms / 1000 < now - keep_s[file.kind])
    excess = max(disk.used - settings.max_gib * _GIB, settings.min_free_gib * _GIB - disk.free)
    excess -= sum(file.bytes for file in aged)
    squeezed = []
    rest = sorted(set(files) - set(aged), key=lambda file: (file.kind is FileKind.MINUTE, file.last_ms))
    for file in rest:
        if excess <= 0:
            break
        squeezed.append(file)
        excess -= file.bytes
    return Doomed(aged, tuple(squeezed))


def forget_before(settings: EmbeddedSettings, now: float) -> float:
    """Sources silent since then (unix seconds) have no rows left and no report that they could send again."""
    return now - max(settings.raw_days * _DAY_S, LONGEST_SPOOL_S)
