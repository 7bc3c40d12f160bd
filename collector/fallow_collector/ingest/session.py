"""The collector's half of one agent's stream: messages and the time in, actions out; no I/O.

The first message must be a Hello that passes hello.complaint; then reports are told apart by one table of questions:

    is its epoch one that a Hello named, and its layout known?  else refused
    do its numbers fit the layout?                              else refused
    is it in the judged lane?                                   then judged, seen before or not
    does the store have it?                                     then acknowledged again
    is it on its way to the store?                              then acknowledged when it is there
    does its time lie in the window?                            else refused, for the store only
                                                                then stored

A refused report is never asked for again: the agent sets it aside.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Generic, NamedTuple, Protocol, TypeVar

from fallow_collector.ingest import hello as greeting
from fallow_collector.ingest import ledger as ledgers
from fallow_collector.ingest import processes as lists
from fallow_collector.ingest.identity import Identity
from fallow_collector.ingest.received import Ranges, Received
from fallow_proto import WIRE
from fallow_proto.codec import encode_ranges
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb

Arrival = TypeVar("Arrival")
Arrival_co = TypeVar("Arrival_co", covariant=True)
Decode = Callable[[str, pb.Report, float], Arrival]
"""(epoch, report, receipt) → an arrival; raises Unusable."""

AGE_MAX_S = 72 * 3600.0  # what an agent's spool keeps at most by default
AHEAD_MAX_S = 300.0  # a clock further ahead is wrong, not slow
REPORTS = 4096  # in one message: the agent's batches are ≤ 256 KiB, and a report has more than 64 bytes
EVENTS = 1024
LAYOUTS = 1024  # on one stream; an agent makes a new one when its devices or readers change
HASH_LENGTH = 64
DETAIL_LENGTH = 512


class Unusable(Exception):
    """A layout or a report that cannot be understood; the message is for the agent's log and ours."""


class Refusal(StrEnum):
    """Why a report or an event is refused for good."""

    UNKNOWN_EPOCH = "unknown_epoch"
    UNKNOWN_LAYOUT = "unknown_layout"
    BAD_LAYOUT = "bad_layout"
    MALFORMED = "malformed"
    TOO_MANY = "too_many"
    TIME = "time"
    UNSTORABLE = "unstorable"  # the collector's own fault, not the agent's


class Fault(StrEnum):
    """Why a stream is closed, by the names of gRPC's status codes."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    ABORTED = "ABORTED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class Greet(NamedTuple):
    """Make this session its node's, tell the fleet, and answer with `Session.welcome`."""

    hello: pb.Hello


class Update(NamedTuple):
    """Tell the fleet what changed on the node."""

    hello: pb.Hello


class Take(NamedTuple, Generic[Arrival]):
    epoch: str
    judge: Sequence[Arrival]
    store: Sequence[Arrival]
    numbers: Sequence[int]  # of those to store


class Record(NamedTuple):
    epoch: str
    events: Sequence[pb.Event]


class Confirm(NamedTuple):
    """What the node keeps of devices that it was sent fences of."""

    fences: Sequence[pb.DeviceFence]


class Import(NamedTuple):
    """What a scheduler's own daemon says on the node."""

    ledger: pb.Ledger


class Shed(NamedTuple):
    """So many reports the node's spool had to let go since its agent started."""

    reports: int


class Listed(NamedTuple):
    """The processes on one of the node's devices."""

    told: pb.Processes


class Refused(NamedTuple):
    """To be counted and logged; the session itself tells the agent of reports and events."""

    refusal: Refusal
    many: int
    detail: str


class Close(NamedTuple):
    fault: Fault
    reason: str


Action = Greet | Update | Take[Arrival] | Record | Confirm | Import | Shed | Listed | Refused | Close


class Binder(Protocol[Arrival_co]):
    def __call__(self, node: str, layout: pb.Layout) -> Callable[[str, pb.Report, float], Arrival_co]:
        """What decodes the reports of a layout. Raises Unusable."""


class Terms(NamedTuple):
    """What every agent is told in its Welcome."""

    version: str
    evidence_s: float
    holders: tuple[pb.Holder, ...] = ()


class Session(Generic[Arrival]):
    def __init__(self, received: Received, bind: Binder[Arrival], identity: Identity | None) -> None:
        self.node = ""  # until the first Hello was accepted
        self._received = received
        self._bind = bind
        self._identity = identity
        self._closed = False
        self._epochs: dict[str, Ranges] = {}
        self._layouts: dict[bytes, Decode[Arrival]] = {}
        self._bad_layouts: dict[bytes, str] = {}
        self._acks: dict[str, RangeSet] = {}
        self._resends: dict[str, RangeSet] = {}
        self._refusals: dict[Refusal, tuple[str, dict[str, RangeSet]]] = {}

    def handle(self, message: pb.FromAgent, receipt: float, wall: float) -> Sequence[Action[Arrival]]:
        """What to do about a message. receipt: the collector's monotonic clock; wall: unix seconds."""
        kind = message.WhichOneof("kind")
        if self._closed:
            return ()
        if not self.node:
            return self._first(message, kind)
        if kind == "reports":
            return self._reports(message.reports, receipt, wall)
        if kind == "events":
            return self._events(message.events)
        if kind == "layout":
            return self._layout(message.layout)
        if kind == "hello":
            return self._again(message.hello)
        if kind == "fenced":
            return self._fenced(message.fenced)
        if kind == "ledger":
            return self._ledger(message.ledger)
        if kind == "processes":
            return self._processes(message.processes)
        return ()  # a newer agent's word that we do not know yet

    def welcome(self, judged: tuple[str, int], terms: Terms) -> pb.ToAgent:
        """The answer to the first Hello. judged: epoch and number of the last report that was judged."""
        return pb.ToAgent(welcome=pb.Welcome(
            wire=WIRE,
            collector_version=terms.version,
            stored=encode_ranges(self._received.stored(self.node, self._epochs)),
            evidence_s=terms.evidence_s,
            judged_epoch=judged[0],
            judged_seq=judged[1],
            holders=terms.holders,
        ))

    def acknowledge(self, epoch: str, lo: int, hi: int) -> None:
        """The store has these for good."""
        self._acks.setdefault(epoch, RangeSet()).add(lo, hi)

    def ask_again(self, epoch: str, lo: int, hi: int) -> None:
        self._resends.setdefault(epoch, RangeSet()).add(lo, hi)

    def refuse(self, refusal: Refusal, detail: str, epoch: str, lo: int, hi: int) -> None:
        _, refused = self._refusals.setdefault(refusal, (detail[:DETAIL_LENGTH], {}))
        refused.setdefault(epoch, RangeSet()).add(lo, hi)

    @property
    def has_news(self) -> bool:
        return bool(self._acks or self._resends or self._refusals)

    def news(self) -> list[pb.ToAgent]:
        """What is to be sent now, each thing once."""
        messages = []
        if self._acks:
            messages.append(pb.ToAgent(ack=pb.Ack(stored=encode_ranges(self._acks))))
            self._acks = {}
        for refusal, (detail, refused) in self._refusals.items():
            messages.append(pb.ToAgent(refuse=pb.Refuse(refused=encode_ranges(refused), reason=f"{refusal}: {detail}")))
        self._refusals = {}
        if self._resends:
            messages.append(pb.ToAgent(resend=pb.Resend(lost=encode_ranges(self._resends))))
            self._resends = {}
        return messages

    def _first(self, message: pb.FromAgent, kind: str | None) -> Sequence[Action[Arrival]]:
        if kind != "hello":
            return self._close(Fault.INVALID_ARGUMENT, f"the first message was {kind or 'empty'}, expected Hello")
        hello = message.hello
        if hello.wire < greeting.OLDEST_WIRE:
            return self._close(Fault.FAILED_PRECONDITION, greeting.complaint(hello))
        if fault := greeting.complaint(hello):
            return self._close(Fault.INVALID_ARGUMENT, fault)
        if self._identity is not None and not self._identity.speaks_for(hello.node):
            return self._close(
                Fault.PERMISSION_DENIED,
                f"the certificate is of {self._identity}, expected one that names the node {hello.node}",
            )
        self.node = hello.node
        greeting.clean(hello)
        self._learn_epochs(hello)
        self._received.greet(self.node, self._epochs)
        return (Greet(hello),)

    def _again(self, hello: pb.Hello) -> Sequence[Action[Arrival]]:
        if fault := greeting.complaint(hello):
            return self._close(Fault.INVALID_ARGUMENT, fault)
        if hello.node != self.node:
            return self._close(
                Fault.INVALID_ARGUMENT, f"a second Hello is of node {hello.node}, expected {self.node} as before"
            )
        greeting.clean(hello)
        self._learn_epochs(hello)
        return (Update(hello),)

    def _learn_epochs(self, hello: pb.Hello) -> None:
        for epoch in (hello.epoch, *(spooled.epoch for spooled in hello.spooled)):
            self._epochs[epoch] = self._received.of(self.node, epoch)

    def _layout(self, layout: pb.Layout) -> Sequence[Action[Arrival]]:
        if len(self._layouts) + len(self._bad_layouts) >= LAYOUTS:
            return self._close(Fault.RESOURCE_EXHAUSTED, f"more than {LAYOUTS} layouts on one stream")
        if len(layout.hash) > HASH_LENGTH:
            return self._close(Fault.INVALID_ARGUMENT, f"a layout's hash has {len(layout.hash)} bytes, expected 16")
        try:
            self._layouts[layout.hash] = self._bind(self.node, layout)
        except Unusable as error:
            self._bad_layouts[layout.hash] = str(error)
        return ()

    def _reports(self, batch: pb.Reports, receipt: float, wall: float) -> Sequence[Action[Arrival]]:
        epoch, reports = batch.epoch, batch.reports
        ranges = self._epochs.get(epoch)
        decode = self._layouts.get(batch.layout)
        if ranges is None or decode is None or len(reports) > REPORTS:
            return self._refuse_all(batch)
        judged_lane = batch.lane == pb.LANE_JUDGED
        judge: list[Arrival] = []
        store: list[Arrival] = []
        numbers: list[int] = []
        actions: list[Action[Arrival]] = [Take(epoch, judge, store, numbers)]
        if batch.HasField("spool_dropped"):
            actions.append(Shed(batch.spool_dropped))
        for report in reports:
            seq = report.seq
            try:
                if not report.previous < seq < greeting.SEQ_MAX:
                    raise Unusable(f"number {seq} after {report.previous}, expected it to rise and be below 2^53")
                arrival = decode(epoch, report, receipt)
            except Unusable as error:
                actions.append(self._refuse_one(Refusal.MALFORMED, str(error), epoch, seq))
                continue
            if judged_lane:
                judge.append(arrival)
            if seq in ranges.stored:
                self.acknowledge(epoch, seq, seq)
            elif not -AHEAD_MAX_S <= (age := wall - report.time_ms / 1000) <= AGE_MAX_S:
                detail = (
                    f"report {seq} is {age:.0f} s old by the collector's clock, "
                    f"expected {-AHEAD_MAX_S:.0f} to {AGE_MAX_S:.0f}: check the node's clock"
                )
                actions.append(self._refuse_one(Refusal.TIME, detail, epoch, seq))
            elif ranges.take(seq):
                store.append(arrival)
                numbers.append(seq)
        return actions

    def _events(self, batch: pb.Events) -> Sequence[Action[Arrival]]:
        if batch.epoch not in self._epochs:
            return self._refuse_events(Refusal.UNKNOWN_EPOCH, f"epoch {batch.epoch!r} is in no Hello", batch)
        if len(batch.events) > EVENTS:
            detail = f"{len(batch.events)} events in one message, expected no more than {EVENTS}"
            return self._refuse_events(Refusal.TOO_MANY, detail, batch)
        good = []
        actions: list[Action[Arrival]] = []
        for event in batch.events:
            fault = _event_fault(event)
            if fault:
                actions.append(self._refuse_one(Refusal.MALFORMED, fault, batch.epoch, event.seq))
                continue
            event.kind = greeting.cleaned(event.kind, greeting.LABEL_LENGTH)
            event.source = greeting.cleaned(event.source, greeting.LABEL_LENGTH)
            event.message = greeting.cleaned(event.message, greeting.MESSAGE_LENGTH)
            good.append(event)
        return [Record(batch.epoch, good), *actions] if good else actions

    def _fenced(self, fenced: pb.Fenced) -> Sequence[Action[Arrival]]:
        if fault := greeting.fences_fault(fenced.fences):
            return (Refused(Refusal.MALFORMED, 1, f"fenced: {fault}"[:DETAIL_LENGTH]),)
        greeting.clean_fences(fenced.fences)
        return (Confirm(fenced.fences),)

    def _ledger(self, ledger: pb.Ledger) -> Sequence[Action[Arrival]]:
        if fault := ledgers.complaint(ledger):
            return (Refused(Refusal.MALFORMED, 1, fault[:DETAIL_LENGTH]),)
        ledgers.clean(ledger)
        return (Import(ledger),)

    def _processes(self, told: pb.Processes) -> Sequence[Action[Arrival]]:
        if fault := lists.complaint(told):
            return (Refused(Refusal.MALFORMED, 1, fault[:DETAIL_LENGTH]),)
        lists.clean(told)
        return (Listed(told),)

    def _refuse_all(self, batch: pb.Reports) -> Sequence[Action[Arrival]]:
        if batch.epoch not in self._epochs:
            refusal, detail = Refusal.UNKNOWN_EPOCH, f"epoch {batch.epoch!r} is in no Hello of this stream"
        elif len(batch.reports) > REPORTS:
            refusal = Refusal.TOO_MANY
            detail = f"{len(batch.reports)} reports in one message, expected no more than {REPORTS}"
        elif batch.layout in self._bad_layouts:
            refusal, detail = Refusal.BAD_LAYOUT, self._bad_layouts[batch.layout]
        else:
            refusal, detail = Refusal.UNKNOWN_LAYOUT, f"layout {batch.layout.hex()[:32]} was not sent on this stream"
        for report in batch.reports:
            self.refuse(refusal, detail, batch.epoch, report.seq, report.seq)
        return (Refused(refusal, len(batch.reports), detail[:DETAIL_LENGTH]),)

    def _refuse_events(self, refusal: Refusal, detail: str, batch: pb.Events) -> Sequence[Action[Arrival]]:
        for event in batch.events:
            self.refuse(refusal, detail, batch.epoch, event.seq, event.seq)
        return (Refused(refusal, len(batch.events), detail[:DETAIL_LENGTH]),)

    def _refuse_one(self, refusal: Refusal, detail: str, epoch: str, seq: int) -> Refused:
        self.refuse(refusal, detail, epoch, seq, seq)
        return Refused(refusal, 1, detail[:DETAIL_LENGTH])

    def _close(self, fault: Fault, reason: str) -> Sequence[Action[Arrival]]:
        self._closed = True
        return (Close(fault, reason),)


def _event_fault(event: pb.Event) -> str:
    if not 0 < event.seq < greeting.SEQ_MAX:
        return f"event number {event.seq}, expected 1 to below 2^53"
    if fault := greeting.name_fault(event.id, greeting.LABEL_LENGTH):
        return f"event id {fault}"
    if event.device and (fault := greeting.name_fault(event.device, greeting.UUID_LENGTH)):
        return f"event device {fault}"
    return ""
