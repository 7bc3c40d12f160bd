"""An agent's half of the protocol and what lies between it and the collector's, for a test that plays both."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fallow_agent.spool.item import Ranges
from fallow_agent.uplink import words as w
from fallow_collector.ingest.session import Unusable
from fallow_collector.ingest.streams import Stream
from fallow_collector.series import Source, Span
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.builders import START_MS
from tests.agent.uplink.node import IDENTITY, Node

POISON = 11  # every report of a number that this divides cannot be decoded
WALL = START_MS / 1000 + 100.0

Key = tuple[str, int]


class Watched(Node):
    """A node of which it is noted what its spool had to drop, and what of the backlog it sent when."""

    def __init__(self, epoch: str, path: Path, now: float) -> None:
        self.dropped: set[Key] = set()
        self.backlog: list[tuple[float, int]] = []
        self.dialled_at: list[float] = []
        super().__init__(epoch, path, mib=1)
        self.now = now

    def tell(self, event: w.Event) -> list[w.Action]:
        if isinstance(event, w.Dropped):
            self.dropped |= keys_in(event.ranges)
        return super().tell(event)

    def _perform(self, action: w.Action) -> None:
        if isinstance(action, w.Send) and action.message.reports.lane == pb.LANE_BACKLOG:
            assert not list(self.uplink._ring.since(self.uplink._cursor)), "live reports first"
            self.backlog.append((self.now, action.message.ByteSize()))
        super()._perform(action)


class Pipe:
    """What is on its way on one stream."""

    def __init__(self, stream: Stream[pb.Report]) -> None:
        self.stream = stream
        self.up: list[bytes] = []
        self.down: list[pb.ToAgent] = []


class Unheard:
    """Stages behind ingest to which nothing matters."""

    def gone(self, node: str, receipt: float) -> None: ...

    def greeted(self, hello: pb.Hello, receipt: float) -> None: ...

    def fenced(self, node: str, fences: Sequence[pb.DeviceFence], receipt: float) -> None: ...

    def ledger(self, node: str, ledger: pb.Ledger, receipt: float) -> None: ...

    def processes(self, node: str, told: pb.Processes) -> None: ...


def keys_in(ranges: Ranges) -> set[Key]:
    return {(epoch, seq) for epoch, pairs in ranges.items() for lo, hi in pairs for seq in range(lo, hi + 1)}


def spans(keys: Iterable[Key]) -> list[Span]:
    return [Span(Source(IDENTITY.node, epoch), seq, seq) for epoch, seq in keys]


def bind(node: str, layout: pb.Layout) -> Callable[[str, pb.Report, float], pb.Report]:
    def decode(epoch: str, report: pb.Report, receipt: float) -> pb.Report:
        if report.seq % POISON == 0:
            raise Unusable("poison")
        return report

    return decode
