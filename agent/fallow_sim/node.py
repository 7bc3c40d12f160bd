"""One simulated node's half of the conversation: what it sends next, given what the collector said. No I/O.

It keeps no reports: a source can make any of them again. What it remembers is which sequence numbers the collector has.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from fallow_agent import fences
from fallow_proto.codec import decode_ranges, encode_ranges
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb

EVIDENCE_REPORTS = 120  # a message of evidence; with 8 devices of 21 metrics 120 kB, of at most 1 MiB
BACKLOG_REPORTS = 60


class Source(Protocol):
    """Where a node's reports come from."""

    epoch: str
    layout: pb.Layout

    def hello(self) -> pb.Hello:
        """Everything but what is spooled."""

    def fill(self, batch: pb.Reports, lo: int, hi: int) -> None:
        """Append the reports lo..hi."""

    def due(self, seq: int) -> float:
        """When a report is to be sent, unix seconds."""

    def oldest_within(self, newest: int, seconds: float) -> int:
        """The first report that is at most so much older than the newest."""


class Batch(NamedTuple):
    """Reports to send: lo..hi, both included."""

    lane: pb.Lane.ValueType
    lo: int
    hi: int


@dataclass(slots=True)
class Node:
    source: Source
    newest: int = 0  # the last report that there is
    acked: RangeSet = field(default_factory=RangeSet)
    refused: RangeSet = field(default_factory=RangeSet)
    welcome: bool = False
    fences: dict[str, pb.DeviceFence] = field(default_factory=dict)  # by uuid, as an agent keeps them
    _answers: deque[pb.FromAgent] = field(default_factory=deque)
    _next: int = 1  # in the judged lane, on this stream
    _backlog: deque[tuple[int, int]] = field(default_factory=deque)

    def opened(self) -> pb.FromAgent:
        """The first message of a new stream."""
        self.welcome = False
        self._backlog.clear()
        self._answers.clear()
        hello = self.source.hello()
        hello.fences.extend(self.fences.values())
        hello.spooled.extend(encode_ranges({self.source.epoch: self._unsettled(1, self.newest)}))
        return pb.FromAgent(hello=hello)

    def received(self, message: pb.ToAgent) -> list[tuple[int, int]]:
        """Take in what the collector says; the ranges that it acknowledged and had not before."""
        match message.WhichOneof("kind"):
            case "welcome":
                return self._welcomed(message.welcome)
            case "ack":
                return self._stored(decode_ranges(message.ack.stored).get(self.source.epoch, RangeSet()))
            case "refuse":
                self.refused.update(decode_ranges(message.refuse.refused).get(self.source.epoch, RangeSet()))
            case "resend":
                self._lost(decode_ranges(message.resend.lost).get(self.source.epoch, RangeSet()))
            case "fence":
                asked = message.fence.fences
                self.fences = fences.after(self.fences, asked)
                self._answers.append(pb.FromAgent(fenced=pb.Fenced(fences=fences.of(self.fences, asked))))
        return []

    def answer(self) -> pb.FromAgent | None:
        """The next answer to a Fence, which goes before any report."""
        return self._answers.popleft() if self._answers else None

    def judged(self) -> Batch | None:
        """The next batch of the judged lane: evidence first, then live reports."""
        if not self.welcome or self._next > self.newest:
            return None
        batch = Batch(pb.LANE_JUDGED, self._next, min(self.newest, self._next + EVIDENCE_REPORTS - 1))
        self._next = batch.hi + 1
        return batch

    def backlog(self) -> Batch | None:
        """The next batch of older reports that the store lacks."""
        while self._backlog:
            lo, hi = self._backlog.popleft()
            parts = self._unsettled(lo, hi)
            if not parts:
                continue
            first, last = parts[0]
            end = min(last, first + BACKLOG_REPORTS - 1)
            if end < hi:
                self._backlog.appendleft((end + 1, hi))
            return Batch(pb.LANE_BACKLOG, first, end)
        return None

    def message(self, batch: Batch) -> pb.FromAgent:
        message = pb.FromAgent()
        reports = message.reports
        reports.epoch = self.source.epoch
        reports.layout = self.source.layout.hash
        reports.lane = batch.lane
        self.source.fill(reports, batch.lo, batch.hi)
        return message

    def _welcomed(self, welcome: pb.Welcome) -> list[tuple[int, int]]:
        fresh = self._stored(decode_ranges(welcome.stored).get(self.source.epoch, RangeSet()))
        judged = welcome.judged_seq if welcome.judged_epoch == self.source.epoch else 0
        self._next = max(judged + 1, self.source.oldest_within(self.newest, welcome.evidence_s))
        if self._next > 1:
            self._backlog.append((1, self._next - 1))
        self.welcome = True
        return fresh

    def _stored(self, ranges: RangeSet) -> list[tuple[int, int]]:
        fresh = [part for lo, hi in ranges for part in self.acked.missing(lo, hi)]
        self.acked.update(ranges)
        return fresh

    def _lost(self, ranges: RangeSet) -> None:
        self.acked = RangeSet(part for lo, hi in self.acked for part in ranges.missing(lo, hi))
        self._backlog.extend(ranges)

    def _unsettled(self, lo: int, hi: int) -> list[tuple[int, int]]:
        return [part for gap in self.acked.missing(lo, hi) for part in self.refused.missing(*gap)]
