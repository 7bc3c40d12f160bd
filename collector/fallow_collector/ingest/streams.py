"""All streams of all agents: one a node, the newest wins; performs what sessions decide, on the stages behind.

Nothing here waits: whoever owns the wire calls in, and is woken when a stream has something to send.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Generic, Protocol, TypeVar

from google.protobuf.message import DecodeError

from fallow_collector.certificate import Validity
from fallow_collector.ingest.identity import Identity
from fallow_collector.ingest.limits import HELLO_S, Guard
from fallow_collector.ingest.received import Received
from fallow_collector.ingest.refusals import Refusals
from fallow_collector.ingest.session import (
    Binder,
    Close,
    Confirm,
    Fault,
    Greet,
    Import,
    Listed,
    Record,
    Refusal,
    Refused,
    Session,
    Shed,
    Take,
    Terms,
    Update,
)
from fallow_collector.series import Source, Span
from fallow_proto.v1 import telemetry_pb2 as pb

Arrival = TypeVar("Arrival")
Arrival_contra = TypeVar("Arrival_contra", contravariant=True)
ACKS_A_PULSE = 15
"""Streams that are sent their acknowledgements in one pulse, of which there are 20 a second. A message out costs more
than one in: at 2,000 nodes, an acknowledgement every 2 s took a tenth of the collector's time. With 300 a second a
small fleet hears at once and 10,000 nodes within 35 s, which is soon enough for a spool."""

log = logging.getLogger(__name__)


class Behind(Protocol[Arrival_contra]):
    """The stages behind ingest, as far as it feeds them."""

    def hello(self, hello: pb.Hello, receipt: float, wall: float) -> tuple[str, int]:
        """Learn the node and its devices; epoch and number of its report that was judged last, "" and 0 if none."""

    def gone(self, node: str, receipt: float) -> None: ...

    def take(
        self, source: Source, judge: Sequence[Arrival_contra], store: Sequence[Arrival_contra], numbers: Sequence[int]
    ) -> None:
        """Reports to judge and reports to store, oldest first. numbers: of those to store."""

    def record(self, source: Source, events: Sequence[pb.Event]) -> None: ...

    def greeted(self, hello: pb.Hello, receipt: float) -> None:
        """After `hello`, when the stream is its node's and has been welcomed: it can be sent fences."""

    def fenced(self, node: str, fences: Sequence[pb.DeviceFence], receipt: float) -> None:
        """What the node keeps of devices that it was sent fences of."""

    def ledger(self, node: str, ledger: pb.Ledger, receipt: float) -> None:
        """All that a scheduler's own daemon has allocated on the node."""

    def processes(self, node: str, told: pb.Processes) -> None:
        """Who is on one of the node's devices."""

    def shed(self, node: str, reports: int) -> None:
        """So many the node's spool had to let go since its agent started."""


class Revoked(Protocol):
    def complaint(self, serial: str, begins: float, node: str) -> str:
        """Why this certificate is not good for this node any more; empty when it is."""


class NobodyRevoked:
    def complaint(self, serial: str, begins: float, node: str) -> str:
        return ""


class Stream(Generic[Arrival]):
    """One agent's stream, seen from the wire's side."""

    def __init__(
        self, session: Session[Arrival], wake: Callable[[], None], certificate: Validity | None = None,
        address: str = "",
    ) -> None:
        self.address = address
        self.session = session
        self.wake = wake
        self.certificate = certificate
        self.closed: Close | None = None
        self._first: list[pb.ToAgent] = []

    def say(self, message: pb.ToAgent) -> None:
        self._first.append(message)
        self.wake()

    def close(self, close: Close) -> None:
        if self.closed is None:
            self.closed = close
            self.wake()

    def outgoing(self) -> list[pb.ToAgent]:
        """Everything that is to be sent now."""
        messages, self._first = self._first, []
        if self.session.has_news:
            messages += self.session.news()
        return messages


class Streams(Generic[Arrival]):
    def __init__(self, received: Received, behind: Behind[Arrival], bind: Binder[Arrival], terms: Terms) -> None:
        self.refusals = Refusals()
        self.guard = Guard()
        self.messages = 0
        self.bytes = 0
        self.superseded = 0
        self._received = received
        self._behind = behind
        self._bind = bind
        self._terms = terms
        self.certificates: dict[str, Validity] = {}  # of nodes, as they showed them last
        self._revoked: Revoked = NobodyRevoked()
        self._review_at = math.inf  # unix seconds: the soonest end of the certificate of an open stream
        self._nodes: dict[str, Stream[Arrival]] = {}
        self._waiting: dict[Stream[Arrival], None] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def open(
        self, identity: Identity | None, wake: Callable[[], None], certificate: Validity | None = None,
        address: str = "", receipt: float = 0.0,
    ) -> Stream[Arrival]:
        """A peer has connected. wake: called whenever the stream has something to send or is to be closed. certificate:
        the one that it showed. address: the peer's, without its port. receipt: monotonic seconds."""
        stream = Stream(Session(self._received, self._bind, identity), wake, certificate, address)
        if fault := self.guard.opened(address, identity):
            self._limit(stream, "too_many_streams", fault, receipt)
        return stream

    def expect_hello(self, stream: Stream[Arrival], receipt: float) -> None:
        """The stream has been open for HELLO_S."""
        if not stream.session.node and stream.closed is None:
            self._limit(stream, "silent", f"no Hello within {HELLO_S:.0f} s", receipt)

    def received(self, stream: Stream[Arrival], data: bytes, receipt: float, wall: float) -> None:
        """A message has come in."""
        if stream.closed is not None:
            return  # what was still on the wire; another stream may speak for the node by now
        self.messages += 1
        self.bytes += len(data)
        try:
            message = pb.FromAgent.FromString(data)
        except DecodeError:
            close = Close(Fault.INVALID_ARGUMENT, f"a message of {len(data)} bytes is no fallow.v1.FromAgent")
            self._close(stream, close, receipt)
            return
        session = stream.session
        if session.node and (fault := self.guard.excess(session.node, message, len(data), receipt)):
            self._limit(stream, "too_fast", fault, receipt)
            return
        for action in session.handle(message, receipt, wall):
            match action:
                case Take():
                    self._behind.take(Source(session.node, action.epoch), action.judge, action.store, action.numbers)
                case Refused():
                    self._note(session.node, action.refusal, action.many, action.detail, receipt)
                case Record():
                    self._behind.record(Source(session.node, action.epoch), action.events)
                case Greet():
                    if fault := self.guard.excess(session.node, message, len(data), receipt):
                        self._limit(stream, "too_fast", fault, receipt)
                    else:
                        self._greet(stream, action.hello, receipt, wall)
                case Update():
                    self._behind.hello(action.hello, receipt, wall)
                    self._behind.greeted(action.hello, receipt)
                case Confirm(fences):
                    self._behind.fenced(session.node, fences, receipt)
                case Import(ledger):
                    self._behind.ledger(session.node, ledger, receipt)
                case Shed(reports):
                    self._behind.shed(session.node, reports)
                case Listed(told):
                    self._behind.processes(session.node, told)
                case Close():
                    self._close(stream, action, receipt)
        if session.has_news:
            self._waiting[stream] = None

    def closed(self, stream: Stream[Arrival], receipt: float) -> None:
        """The stream has ended, by whichever side."""
        self.guard.ended(stream.address)
        self._waiting.pop(stream, None)
        node = stream.session.node
        if node and self._nodes.get(node) is stream:
            del self._nodes[node]
            self._behind.gone(node, receipt)
            log.info("stream ended node=%s streams=%d", node, len(self._nodes))

    def committed(self, spans: Iterable[Span]) -> None:
        """The store has these for good."""
        for (node, epoch), lo, hi in spans:
            self._received.of(node, epoch).commit(lo, hi)
            if stream := self._nodes.get(node):
                stream.session.acknowledge(epoch, lo, hi)
                self._waiting[stream] = None

    def lost(self, spans: Iterable[Span]) -> None:
        """The store had taken these and lost them before they were there for good."""
        for (node, epoch), lo, hi in spans:
            self._received.of(node, epoch).forget(lo, hi)
            self._ask_again(node, epoch, lo, hi)

    def dropped(self, spans: Iterable[Span]) -> None:
        """There was no room for these on the way to the store; they are asked for again by `offer_again`."""
        for (node, epoch), lo, hi in spans:
            self._received.dropped(node, epoch, lo, hi)

    def offer_again(self) -> None:
        """There is room again: ask the agents for what was dropped."""
        for (node, epoch), ranges in self._received.claim_dropped():
            for lo, hi in ranges:
                self._ask_again(node, epoch, lo, hi)

    def unstorable(self, spans: Iterable[Span], detail: str, receipt: float) -> None:
        """These cannot be stored for a reason that will not go away."""
        for (node, epoch), lo, hi in spans:
            self._received.of(node, epoch).forget(lo, hi)
            self._note(node, Refusal.UNSTORABLE, hi - lo + 1, detail, receipt)
            if stream := self._nodes.get(node):
                stream.session.refuse(Refusal.UNSTORABLE, detail, epoch, lo, hi)
                self._waiting[stream] = None

    def unacknowledged(self, waiting_since: float, now: float) -> dict[str, float]:
        """As Received.unacknowledged."""
        return self._received.unacknowledged(waiting_since, now)

    def learn(self, stored: Iterable[tuple[Source, Iterable[tuple[int, int]]]]) -> None:
        """What the store turned out to have when it was opened. Agents that are already here are told at once."""
        stored = list(stored)
        self._received.learn(stored)
        for (node, epoch), ranges in stored:
            if stream := self._nodes.get(node):
                for lo, hi in ranges:
                    stream.session.acknowledge(epoch, lo, hi)
                self._waiting[stream] = None

    def send_fences(self, node: str, fences: Sequence[pb.DeviceFence]) -> bool:
        """Tell a node at once who owns devices of it; False: it has no stream, and says in its next Hello what it
        keeps. An agent that is too old to know fences never answers.
        """
        return self.send(node, pb.ToAgent(fence=pb.Fence(fences=fences)))

    def send(self, node: str, message: pb.ToAgent) -> bool:
        """At once, whatever else waits; False: the node has no stream."""
        stream = self._nodes.get(node)
        if stream is None:
            return False
        stream.say(message)
        return True

    def pulse(self) -> None:
        """Let some of the streams send what they have; called 20 times a second."""
        for stream in list(islice(self._waiting, ACKS_A_PULSE)):
            del self._waiting[stream]
            stream.wake()

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._waiting

    def review(self, revoked: Revoked, wall: float, receipt: float) -> None:
        """Close the streams whose certificates are not good any more, for a connection outlives its certificate. Costs
        nothing while nothing was revoked and nothing expired. wall: unix seconds."""
        if revoked is self._revoked and wall < self._review_at:
            return
        self._revoked = revoked
        self._review_at = math.inf
        for node, stream in list(self._nodes.items()):
            if close := self._disbelief(stream, node, wall):
                self._close(stream, close, receipt)

    def close_all(self, reason: str) -> None:
        for stream in list(self._nodes.values()):
            stream.close(Close(Fault.UNAVAILABLE, reason))

    def _disbelief(self, stream: Stream[Arrival], node: str, wall: float) -> Close | None:
        """Why the certificate is not good for the node; if it is, its end will be looked at in time."""
        certificate = stream.certificate
        if certificate is None:
            return None
        if reason := self._revoked.complaint(certificate.serial, certificate.begins, node):
            return Close(Fault.PERMISSION_DENIED, reason)
        if wall >= certificate.ends:
            return Close(Fault.UNAUTHENTICATED, f"the certificate {certificate.serial} of node {node} has expired")
        self._review_at = min(self._review_at, certificate.ends)
        return None

    def _greet(self, stream: Stream[Arrival], hello: pb.Hello, receipt: float, wall: float) -> None:
        node = hello.node
        if close := self._disbelief(stream, node, wall):
            self._close(stream, close, receipt)
            return
        older = self._nodes.get(node)
        if older is not None:
            self.superseded += 1
            self._waiting.pop(older, None)
            older.close(Close(Fault.ABORTED, f"a newer stream of node {node} took over"))
        self._nodes[node] = stream
        if stream.certificate is None:
            self.certificates.pop(node, None)
        else:
            self.certificates[node] = stream.certificate
        judged = self._behind.hello(hello, receipt, wall)
        stream.say(stream.session.welcome(judged, self._terms))
        self._behind.greeted(hello, receipt)
        log.info(
            "stream began node=%s site=%s devices=%d agent=%s epoch=%s newer=%s streams=%d",
            node, hello.site, len(hello.devices), hello.agent_version, hello.epoch, older is not None, len(self._nodes),
        )

    def _ask_again(self, node: str, epoch: str, lo: int, hi: int) -> None:
        if stream := self._nodes.get(node):
            stream.session.ask_again(epoch, lo, hi)
            self._waiting[stream] = None

    def _limit(self, stream: Stream[Arrival], what: str, reason: str, receipt: float) -> None:
        self._note(stream.session.node or stream.address, what, 1, reason, receipt)
        stream.close(Close(Fault.RESOURCE_EXHAUSTED, reason))

    def _close(self, stream: Stream[Arrival], close: Close, receipt: float) -> None:
        self._note(stream.session.node, close.fault, 1, close.reason, receipt)
        stream.close(close)

    def _note(self, node: str, reason: str, count: int, detail: str, now: float) -> None:
        if line := self.refusals.note(node, reason, count, detail, now):
            log.warning("%s", line)
