"""What the spool holds, and what is asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb

Ranges = Mapping[str, RangeSet]
"""Sequence numbers by epoch."""


class Item(NamedTuple):
    """One report or one event, ready for the wire.

    body is a serialized pb.Report (then `layout` says what its numbers mean) or pb.Event (then `event` is its id).
    """

    epoch: str
    seq: int
    time_ms: int
    body: bytes
    layout: pb.Layout | None = None
    event: str = ""


def merge(into: dict[str, RangeSet], ranges: Ranges) -> None:
    """Add `ranges` to the ones that are there."""
    for epoch, held in ranges.items():
        into.setdefault(epoch, RangeSet()).update(held)


class Refused(NamedTuple):
    ranges: Ranges
    reason: str


class Counters(NamedTuple):
    """Since the spool was made; they survive restarts."""

    dropped_reports: int = 0  # to stay within max_mib and max_age_h
    dropped_events: int = 0
    refused: int = 0  # by the collector, set aside
    damaged: int = 0  # rows whose checksum was wrong, and commits at the end of a log
    quarantined: int = 0  # files set aside, as damaged or of a newer agent

    def __add__(self, other: tuple[object, ...]) -> "Counters":
        return Counters(*(a + b for a, b in zip(self, other, strict=True)))  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Commit:
    """What goes into one transaction. An event replaces the earlier one of the same epoch and id."""

    items: list[Item] = field(default_factory=list)
    trims: list[Ranges] = field(default_factory=list)  # after the items: what the store has for good
    refusals: list[Refused] = field(default_factory=list)  # set aside as dead letters
    counted: Counters = field(default_factory=Counters)  # what happened before it came here


@dataclass(frozen=True, slots=True)
class Dropped:
    """What had to go to stay within bounds."""

    ranges: dict[str, RangeSet] = field(default_factory=dict)
    reports: int = 0
    events: int = 0

    def __add__(self, other: "Dropped") -> "Dropped":
        ranges: dict[str, RangeSet] = {}
        merge(ranges, self.ranges)
        merge(ranges, other.ranges)
        return Dropped(ranges, self.reports + other.reports, self.events + other.events)
