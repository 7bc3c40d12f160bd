"""The order of the collector's stages, written once:

    agents ══ ingest ──► fleet and judgement ──► writer ──► store
                ▲ ├────► events ──► state          │
                │ ├────► leases and ledgers        │
                │ └────► health ──► judgement      │
                └───────── acknowledgements ◄──────┘

Reports are judged and offered to the writer in micro-batches (`flush`). A stage that fails is logged and counted, and
stops no other: what cannot be judged is stored, what cannot be stored is judged.

Not thread-safe: one thread, the event loop's, calls everything; the writer's thread has its own half of Writer.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from fallow_collector.dated import dated
from fallow_collector.fleet.arrival import Arrival, decode
from fallow_collector.fleet.chunks import gather
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.layouts import LayoutError, bind
from fallow_collector.ingest.received import Received
from fallow_collector.ingest.session import Terms, Unusable
from fallow_collector.ingest.streams import Streams
from fallow_collector.series import Source, Span
from fallow_collector.state import EventRow
from fallow_collector.stores.store import Rows
from fallow_collector.writer import Progress, Writer
from fallow_proto.v1 import telemetry_pb2 as pb

FLUSH_S = 0.05
"""Between micro-batches. Judging one node's report alone costs 17 µs, 256 together 0.1 µs each."""

FLUSH_REPORTS = 8192
"""Most reports in a micro-batch: so many in 50 ms are a backlog, and must not pile up in memory."""

EVENTS_PENDING = 20_000
"""Events that wait for the disk; more of them stay in the agents' spools."""

log = logging.getLogger(__name__)


class Waiting(NamedTuple):
    """Events on their way to the state, and the numbers to acknowledge when they are there."""

    rows: list[EventRow]
    spans: list[Span]


class Heard(Protocol):
    """Who listens to what agents say of leases, ledgers and events. now: the collector's monotonic clock."""

    def hello(self, hello: pb.Hello, now: float) -> None:
        """A node came, or changed; the fleet knows it already, and it can be sent fences."""

    def fenced(self, node: str, fences: Sequence[pb.DeviceFence], now: float) -> None:
        """What the node keeps of devices that it was sent fences of."""

    def events(self, rows: Sequence[EventRow]) -> None:
        """What agents tell, on its way to the state; some of it may come again."""

    def ledger(self, node: str, ledger: pb.Ledger, now: float) -> None:
        """All that a scheduler's own daemon has allocated on the node."""

    def processes(self, node: str, told: pb.Processes) -> None:
        """Who is on one of the node's devices."""

    def gone(self, node: str) -> None:
        """The node's stream has ended."""


class Unheard:
    """Nobody listens."""

    def hello(self, hello: pb.Hello, now: float) -> None: ...

    def fenced(self, node: str, fences: Sequence[pb.DeviceFence], now: float) -> None: ...

    def events(self, rows: Sequence[EventRow]) -> None: ...

    def ledger(self, node: str, ledger: pb.Ledger, now: float) -> None: ...

    def processes(self, node: str, told: pb.Processes) -> None: ...

    def gone(self, node: str) -> None: ...


class Pipeline:
    """heard: may be set later, by whoever needs `streams` to be there first."""

    def __init__(self, fleet: Fleet, writer: Writer, terms: Terms, heard: Heard | None = None) -> None:
        self.streams: Streams[Arrival] = Streams(Received(), self, self._bind, terms)
        self.streams.guard.known = lambda uuid: fleet.find(uuid) is not None
        self.failures: Counter[str] = Counter()  # by stage
        self.flushes = 0
        self.judged = 0
        self.offered = 0
        self.dropped = 0
        self.events_kept = 0
        self.heard: Heard = heard or Unheard()
        self._fleet = fleet
        self._writer = writer
        self._judge: list[Arrival] = []
        self._store: list[Arrival] = []
        self._spans: list[Span] = []  # of _store
        self._queued: set[str] = set()  # nodes with reports in _judge or _store
        self._waits: deque[tuple[float, int]] = deque()  # when reports were offered, and how many were by then in all
        self._settled = 0  # of those offered, how many the store has or has lost
        self._events: deque[tuple[EventRow, Span]] = deque()

    # --- what ingest feeds (ingest.streams.Behind) ---

    def hello(self, hello: pb.Hello, receipt: float, wall: float) -> tuple[str, int]:
        if hello.node in self._queued:
            self.flush(receipt)  # what the node said under its last Hello is judged under that one
        with self.stage("fleet"):
            self._fleet.hello(hello, receipt, wall)
        return self._fleet.judged(hello.node)

    def gone(self, node: str, receipt: float) -> None:
        with self.stage("fleet"):
            self._fleet.gone(node, receipt)
        with self.stage("processes"):
            self.heard.gone(node)

    def take(
        self, source: Source, judge: Sequence[Arrival], store: Sequence[Arrival], numbers: Sequence[int]
    ) -> None:
        self._queued.add(source.node)
        self._judge += judge
        if store:
            self._store += store
            self._spans += [Span(source, number, number) for number in numbers]
        if len(self._judge) + len(self._store) >= FLUSH_REPORTS:
            self.flush((judge or store)[-1].receipt)

    def record(self, source: Source, events: Sequence[pb.Event]) -> None:
        taken = []
        for event in events:
            span = Span(source, event.seq, event.seq)
            if len(self._events) < EVENTS_PENDING:
                taken.append(_row(source, event))
                self._events.append((taken[-1], span))
            else:
                self.streams.dropped([span])
        with self.stage("health"):
            self.heard.events(taken)

    def greeted(self, hello: pb.Hello, receipt: float) -> None:
        with self.stage("leases"):
            self.heard.hello(hello, receipt)

    def fenced(self, node: str, fences: Sequence[pb.DeviceFence], receipt: float) -> None:
        with self.stage("leases"):
            self.heard.fenced(node, fences, receipt)

    def ledger(self, node: str, ledger: pb.Ledger, receipt: float) -> None:
        with self.stage("ledgers"):
            self.heard.ledger(node, ledger, receipt)

    def processes(self, node: str, told: pb.Processes) -> None:
        with self.stage("processes"):
            self.heard.processes(node, told)

    def shed(self, node: str, reports: int) -> None:
        self._fleet.nodes[self._fleet.node_number(node)].spool_dropped = reports

    # --- turns ---

    def flush(self, now: float) -> None:
        """Judge and offer what has come in. now: monotonic."""
        self.flushes += 1
        judge, self._judge = self._judge, []
        store, self._store = self._store, []
        spans, self._spans = self._spans, []
        self._queued.clear()
        if judge:
            with self.stage("fleet"):
                self._fleet.apply(judge)
                self.judged += len(judge)
        if store:
            self._offer(store, spans, now)

    def deliver(self, progress: Progress) -> None:
        """Tell the agents what became of their reports in the store."""
        if progress.opened is not None:
            self._drop_waiting()  # some of it may be in the store
            self.streams.learn(progress.opened.items())
            self._writer.start_taking()
        self.streams.committed(progress.outcome.committed)
        self.streams.lost(progress.outcome.resend)
        for spans in (progress.outcome.committed, progress.outcome.resend):
            self._settled += sum(hi - lo + 1 for _, lo, hi in spans)
        while self._waits and self._waits[0][1] <= self._settled:
            self._waits.popleft()

    def unacknowledged(self, now: float) -> dict[str, float]:
        """Nodes of which something came that is not in the store: since when at least some of it is waiting. The store
        takes all nodes' reports in one order, so the oldest of them all stands for each that waits. now: monotonic."""
        return self.streams.unacknowledged(self._waits[0][0] if self._waits else now, now)

    def ask_again(self) -> None:
        """Ask for what was dropped before, when there is room for it."""
        if self._writer.has_ample_room and len(self._events) < EVENTS_PENDING // 2:
            self.streams.offer_again()

    def waiting_events(self) -> Waiting | None:
        """Hand over the events that wait for the state; None: there are none."""
        if not self._events:
            return None
        events, self._events = self._events, deque()
        return Waiting([row for row, _ in events], [span for _, span in events])

    def dated(self, waiting: Waiting, now: float, wall: float) -> list[EventRow]:
        """Their rows, as `dated` has them."""
        return [dated(row, self._fleet, now, wall) for row in waiting.rows]

    def events_are_kept(self, waiting: Waiting) -> None:
        self.events_kept += len(waiting.rows)
        self.streams.committed(waiting.spans)

    def events_are_put_back(self, waiting: Waiting) -> None:
        """They could not be kept now."""
        self.failures["events"] += 1
        self._events.extendleft(reversed(list(zip(waiting.rows, waiting.spans, strict=True))))

    def _drop_waiting(self) -> None:
        """What waits for its turn to be stored; what it is of is asked again."""
        self._store = []
        spans, self._spans = self._spans, []
        self._drop(spans)

    def _drop(self, spans: list[Span]) -> None:
        self.dropped += len(spans)
        self.streams.dropped(spans)

    def _offer(self, store: list[Arrival], spans: list[Span], now: float) -> None:
        rows = None
        if self._writer.has_room:
            with self.stage("writer"):
                rows = _rows(store)
            if rows is None:
                rows, spans = self._sift(store, spans, now)
        if rows is not None and self._writer.offer(rows, spans):
            self.offered += len(spans)
            self._waits.append((now, self.offered))
        else:
            self._drop(spans)

    def _sift(self, store: list[Arrival], spans: list[Span], now: float) -> tuple[list[Rows], list[Span]]:
        """The reports that make rows; the others are refused, lest they come again and spoil others' again."""
        good: list[Rows] = []
        kept: list[Span] = []
        for arrival, span in zip(store, spans, strict=True):
            rows = None
            with self.stage("writer"):
                rows = _rows([arrival])
            if rows is None:
                self.streams.unstorable([span], "the collector cannot turn it into rows; its log says why", now)
            else:
                good += rows
                kept.append(span)
        return good, kept

    def _bind(self, node: str, layout: pb.Layout) -> Callable[[str, pb.Report, float], Arrival]:
        try:
            binding = bind(self._fleet, self._fleet.node_number(node), layout)
        except LayoutError as error:
            raise Unusable(str(error)) from error

        def decode_report(epoch: str, report: pb.Report, receipt: float) -> Arrival:
            try:
                return decode(binding, epoch, report, receipt)
            except LayoutError as error:
                raise Unusable(str(error)) from error
            except Exception as error:  # else it would come again and again
                self._failed("decode", error)
                raise Unusable("the collector failed to decode it; its log says why") from error

        return decode_report

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """One stage's work: its failure is the stage's own."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # logged there
            self._failed(name, error)

    def _failed(self, stage: str, error: Exception) -> None:
        """Count it and, unless it was said too often already, log it."""
        self.failures[stage] += 1
        if self.failures[stage] <= 10 or self.failures[stage] % 1000 == 0:
            log.error("BUG: a stage failed stage=%s failures=%d", stage, self.failures[stage], exc_info=error)


def _rows(store: Sequence[Arrival]) -> list[Rows]:
    return [
        Rows(chunk.time_ms, chunk.series, chunk.gauge_names, chunk.gauges, chunk.counter_names, chunk.counters)
        for chunk in gather(store)
    ]


def _row(source: Source, event: pb.Event) -> EventRow:
    return EventRow(
        node=source.node, epoch=source.epoch, id=event.id, seq=event.seq, kind=event.kind, device=event.device,
        many=min(event.count, 2**53), first_ms=event.first_ms, last_ms=event.last_ms, message=event.message,
        code=event.code if event.HasField("code") else None, source=event.source,
    )
