"""The agent's half of the stream: events and the time in, actions out; no I/O, no clock.

    WAITING --Dial--> Dialled --Send(Hello)--> GREETING --Received(Welcome)--> STREAMING --Lost--> WAITING

While STREAMING, one burst is on the wire at a time, and the next begins when the wire has taken it, so that a slow
collector costs no memory here. A burst is, in this order,

    a Hello, if inventory, readers or epochs changed       the collector knows the devices before their numbers
    the newest ledger of the node's scheduler              who holds a device before it is seen at work
    the processes of devices where they are others         the newest of each device
    events                                                 before samples
    reports out of the ring, from a cursor on              judged lane: Welcome sets the cursor, each report moves it
    else reports out of the spool, oldest first            backlog lane: paced, and bounded in what is not acknowledged

The answer to a Fence waits for none of this: a dispatcher waits for it.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto

from fallow_agent.ring import Ring
from fallow_agent.spool.item import Item, Ranges, Refused
from fallow_agent.uplink import words as w
from fallow_agent.uplink.backoff import PROVEN_S, Backoff
from fallow_agent.uplink.batches import MAX_BYTES, events_of, first_batch, layout_of, reports_of
from fallow_agent.uplink.unacknowledged import Unacknowledged
from fallow_proto import WIRE
from fallow_proto.codec import decode_ranges, encode_ranges
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb

BACKLOG_BYTES_PER_S = 1 << 20
BACKLOG_IN_FLIGHT = 4_096  # reports; more than an hour of one node
SPOOL_RETRY_S = 5.0
_EVENTS_IN_MEMORY = 1_000  # the others wait in the spool


class State(Enum):
    WAITING = auto()
    GREETING = auto()
    STREAMING = auto()


class Uplink:
    """`now` is boot-time seconds throughout."""

    def __init__(self, identity: w.Identity, ring: Ring, backoff: Backoff) -> None:
        self.state = State.WAITING
        self.unacknowledged = Unacknowledged()
        self._identity = identity
        self._ring = ring
        self._backoff = backoff
        self._epoch = ""
        self._devices: list[pb.Device] = []
        self._readers: list[pb.Reader] = []
        self._fences: Sequence[pb.DeviceFence] = ()
        self._allocated: w.Allocated | None = None
        self._lists: dict[str, pb.Processes] = {}  # by device
        self._events: dict[tuple[str, str], Item] = {}  # of this run, unacknowledged, by epoch and id
        self._dropped = 0  # reports that the spool had to let go since the start
        self._reading = False
        self._backlog_at = 0.0
        self._begin_stream()

    def _begin_stream(self) -> None:
        self.unacknowledged.begin_stream()
        self._welcomed_at: float | None = None
        self._writing = 0
        self._cursor = self._ring.end
        self._hello_due = False
        self._told_dropped = 0  # what the collector knows of _dropped
        self._ledger_due = self._allocated is not None
        self._lists_due = dict(self._lists)
        self._redialling = False
        self._named: set[str] = set()  # epochs that the collector was told of
        self._layouts: set[bytes] = set()  # that it knows
        self._event_epochs: deque[str] = deque()  # whose spooled events are still to be read
        self._read: list[Item] = []  # out of the spool, to be sent next

    def handle(self, event: w.Event, now: float) -> list[w.Action]:
        match event:
            case w.Started():
                return [w.Dial(now)]
            case w.Dialled():
                self._begin_stream()
                self.state = State.GREETING
                return self._greet()
            case w.Received(message):
                return self._received(message, now)
            case w.Lost(_, rejected):
                return self._lost(now, rejected=rejected and not self._redialling)
            case w.Recertified():
                return self._redial()
            case w.Written():
                self._writing -= 1
            case w.Sampled(report):
                self._ring.put(report, now)
                self._hold(report)
            case w.Happened(happened):
                self._events[happened.epoch, happened.event] = happened
                self._hold(happened)
                if len(self._events) > _EVENTS_IN_MEMORY:
                    del self._events[next(iter(self._events))]
            case w.EpochBegan(epoch):
                self._epoch = epoch
                self._hello_due = True
            case w.Inventoried(devices, readers):
                self._devices, self._readers = list(devices), list(readers)
                there = {device.uuid for device in devices}
                self._lists = {device: told for device, told in self._lists.items() if device in there}
                self._hello_due = True
            case w.Recovered(ranges):
                self.unacknowledged.hold(ranges)
            case w.Dropped(ranges, reports):
                # Events are among them when there are fewer reports: too many rather than too few are counted then.
                self._dropped += min(reports, self.unacknowledged.let_go(ranges))
                self._forget_events(ranges)
            case w.SpoolRead():
                self._spool_read(event, now)
            case w.Kept(fences):
                self._fences = fences
            case w.Fenced(fences):
                return self._fenced(fences)
            case w.Allocated():
                self._allocated = event
                self._ledger_due = True
            case w.Listed(lists):
                news = {told.device: told for told in lists}
                self._lists |= news
                self._lists_due |= news
        return self._burst(now)

    def _hold(self, item: Item) -> None:
        self.unacknowledged.hold({item.epoch: RangeSet([(item.seq, item.seq)])})

    def _settle(self, ranges: Ranges) -> None:
        self.unacknowledged.settle(ranges)
        self._forget_events(ranges)

    def _forget_events(self, ranges: Ranges) -> None:
        for key, event in list(self._events.items()):
            if event.seq in ranges.get(event.epoch, ()):
                del self._events[key]

    def _lost(self, now: float, *, rejected: bool) -> list[w.Action]:
        if self._welcomed_at is not None and now - self._welcomed_at >= PROVEN_S:
            self._backoff.proven()
        self.state = State.WAITING
        self._begin_stream()
        return [w.Dial(now + self._backoff.delay_s(rejected=rejected))]

    def _redial(self) -> list[w.Action]:
        """The next stream shows the new certificate; what this one did not carry waits for it."""
        if self.state is State.WAITING:
            return []  # the next stream is it
        self._redialling = True
        return [w.HangUp("the certificate is new, and the next stream shows it")]

    def _received(self, message: pb.ToAgent, now: float) -> list[w.Action]:
        try:
            match message.WhichOneof("kind"):
                case "welcome":
                    return self._welcomed(message.welcome, now)
                case "ack":
                    stored = decode_ranges(message.ack.stored)
                    self._settle(stored)
                    return [w.Trim(stored), *self._burst(now)]
                case "refuse":
                    refused = decode_ranges(message.refuse.refused)
                    self._settle(refused)
                    return [w.SetAside(Refused(refused, message.refuse.reason)), *self._burst(now)]
                case "resend":
                    self._dropped += self.unacknowledged.ask_again(decode_ranges(message.resend.lost))
                    return self._burst(now)
                case "fence":
                    return [w.Fence(list(message.fence.fences))]
                case "quiesce":
                    return [w.Quiesce(message.quiesce.for_s, message.quiesce.by)]
        except ValueError as error:
            return [w.HangUp(f"the collector sent what cannot be: {error}; is it a Fallow collector of this version?")]
        return []  # a newer collector's word that we do not know yet

    def _fenced(self, fences: Sequence[pb.DeviceFence]) -> list[w.Action]:
        """On whichever stream there is: it says what is kept, not what was asked."""
        if self.state is State.WAITING:
            return []  # the next Hello says it
        return self._send(pb.FromAgent(fenced=pb.Fenced(fences=fences)))

    def _welcomed(self, welcome: pb.Welcome, now: float) -> list[w.Action]:
        if self.state is not State.GREETING:
            return []
        stored = decode_ranges(welcome.stored)
        self.state = State.STREAMING
        self._welcomed_at = now
        self._ring.keep_for(welcome.evidence_s)
        self._cursor = self._ring.position_after(welcome.judged_epoch, welcome.judged_seq)
        self._settle(stored)
        self._dropped += self.unacknowledged.written_off()
        self._event_epochs = deque(self.unacknowledged.held)
        return [w.Exempt(list(welcome.holders)), w.Trim(stored), *self._burst(now)]

    def _greet(self, epoch: str = "") -> list[w.Action]:
        """Hello. epoch: one that must be among those that it names."""
        spooled = self.unacknowledged.for_hello(epoch)
        for report in self._ring.since(0):  # acknowledged or not, the judged lane may send it
            spooled.setdefault(report.epoch, [(report.seq, report.seq)])
        self._hello_due = False
        self._told_dropped = self._dropped
        self._named |= {self._epoch, *spooled}
        return self._send(
            pb.FromAgent(
                hello=pb.Hello(
                    wire=WIRE,
                    agent_version=self._identity.agent_version,
                    site=self._identity.site,
                    node=self._identity.node,
                    boot_id=self._identity.boot_id,
                    epoch=self._epoch,
                    spooled=encode_ranges(spooled),
                    devices=self._devices,
                    readers=self._readers,
                    interval_s=self._identity.interval_s,
                    fences=self._fences,
                    rack=self._identity.rack,
                    spool_dropped=self._dropped,
                )
            )
        )

    def _burst(self, now: float) -> list[w.Action]:
        """What comes next on the wire, if it is free."""
        if self.state is not State.STREAMING or self._writing:
            return []
        actions: list[w.Action] = self._greet() if self._hello_due else []
        actions += self._send_ledger(now)
        actions += self._send_lists()
        actions += self._send_events([event for event in self._events.values() if self._is_unsent(event)])
        if live := first_batch(self._ring.since(self._cursor)):
            self._cursor = max(self._cursor, self._ring.start) + len(live)
            return actions + self._send_reports(live, pb.LANE_JUDGED)
        return actions or self._backlog(now)

    def _send_ledger(self, now: float) -> list[w.Action]:
        """The newest word of the node's scheduler; older ones are of no use to anybody."""
        if self._allocated is None or not self._ledger_due:
            return []
        self._ledger_due = False
        ledger = pb.Ledger()
        ledger.CopyFrom(self._allocated.ledger)
        ledger.age_s += now - self._allocated.at
        return self._send(pb.FromAgent(ledger=ledger))

    def _send_lists(self) -> list[w.Action]:
        due, self._lists_due = self._lists_due, {}
        return [action for told in due.values() for action in self._send(pb.FromAgent(processes=told))]

    def _backlog(self, now: float) -> list[w.Action]:
        self._read = [item for item in self._read if self._is_unsent(item)]
        if self._read:
            return self._send_read(now)
        request = None if self._reading else self._next_read(now)
        if request is None:
            return []
        if request.epoch not in self._named:
            return self._greet(request.epoch)
        self._reading = True
        return [request]

    def _next_read(self, now: float) -> w.ReadSpool | None:
        at = max(now, self._backlog_at)
        while self._event_epochs:
            if held := list(self.unacknowledged.held.get(self._event_epochs[0], ())):
                return w.ReadSpool(at, self._event_epochs[0], held[0][0], held[-1][1], MAX_BYTES, events=True)
            self._event_epochs.popleft()
        if self.unacknowledged.backlog_in_flight() >= BACKLOG_IN_FLIGHT:
            return None
        unsent = self.unacknowledged.next_unsent()
        return w.ReadSpool(at, *unsent, MAX_BYTES, events=False) if unsent else None

    def _spool_read(self, read: w.SpoolRead, now: float) -> None:
        self._reading = False
        request, until = read.request, read.until
        if until < request.lo:
            self._backlog_at = now + SPOOL_RETRY_S
            return
        if request.events:
            if self._event_epochs and self._event_epochs[0] == request.epoch:
                self._event_epochs.popleft()
        else:
            missing = RangeSet([(request.lo, until)])
            for item in read.items:
                missing.remove(item.seq, item.seq)
            self.unacknowledged.forget({request.epoch: missing})
            self._forget_events({request.epoch: missing})
        if self.state is State.STREAMING:
            self._read += read.items

    def _send_read(self, now: float) -> list[w.Action]:
        """One message of what was read."""
        events = [item for item in self._read if item.event]
        if events:
            self._read = [item for item in self._read if not item.event]
            return self._send_events(events)
        batch = first_batch(self._read)
        del self._read[: len(batch)]
        took_s = sum(len(report.body) for report in batch) / BACKLOG_BYTES_PER_S
        self._backlog_at = max(now, self._backlog_at) + took_s  # one read may make many messages
        return self._send_reports(batch, pb.LANE_BACKLOG)

    def _send_events(self, events: list[Item]) -> list[w.Action]:
        for event in events:
            self.unacknowledged.send(event.epoch, event.seq, backlog=False)
        return [action for message in events_of(events) for action in self._send(message)]

    def _send_reports(self, batch: list[Item], lane: pb.Lane.ValueType) -> list[w.Action]:
        layout = layout_of(batch[0])
        actions: list[w.Action] = []
        if layout.hash not in self._layouts:
            self._layouts.add(layout.hash)
            actions += self._send(pb.FromAgent(layout=layout))
        for report in batch:
            self.unacknowledged.send(report.epoch, report.seq, backlog=lane == pb.LANE_BACKLOG)
        news = None if self._dropped == self._told_dropped else self._dropped
        self._told_dropped = self._dropped
        return actions + self._send(reports_of(batch, lane, news))

    def _send(self, message: pb.FromAgent) -> list[w.Action]:
        self._writing += 1
        return [w.Send(message)]

    def _is_unsent(self, item: Item) -> bool:
        return self.unacknowledged.is_unsent(item.epoch, item.seq)
