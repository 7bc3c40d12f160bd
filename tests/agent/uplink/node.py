"""A node without wire, disk or clock: the uplink's protocol and a spool in memory, driven by hand."""

from pathlib import Path
from random import Random

from fallow_agent.ring import Ring
from fallow_agent.spool.database import Database
from fallow_agent.spool.item import Commit, Item
from fallow_agent.uplink import words as w
from fallow_agent.uplink.backoff import Backoff
from fallow_agent.uplink.protocol import Uplink
from fallow_proto.codec import encode_ranges
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent import builders

IDENTITY = w.Identity("site", "node1", "0.1", "boot", 1.0, "rack1")


class Node:
    """Performs every action at once but Dial, and keeps what was sent in `wire` until the collector takes it."""

    def __init__(self, epoch: str = "a", path: Path | None = None, mib: int = 64) -> None:
        self.now = 1_000.0
        self.spool = Database(path, mib << 20, 1 << 60)
        self.wire: list[pb.FromAgent] = []
        self.dials: list[float] = []
        self.reads: list[w.ReadSpool] = []
        self.hang_ups: list[str] = []
        self.dead: list[str] = []
        self.fences: list[list[pb.DeviceFence]] = []  # to be kept
        self.quiesces: list[tuple[float, str]] = []
        self.epoch = epoch
        self.seq = 0
        self.previous = 0
        self.uplink = Uplink(IDENTITY, Ring(), Backoff(Random(1)))
        self.tell(w.Recovered(self.spool.recovered))
        self.tell(w.EpochBegan(epoch))
        self.tell(w.Inventoried([], []))
        self.tell(w.Started())

    def tell(self, event: w.Event) -> list[w.Action]:
        actions = self.uplink.handle(event, self.now)
        for action in actions:
            self._perform(action)
        return actions

    def _perform(self, action: w.Action) -> None:
        match action:
            case w.Dial(at):
                self.dials.append(at)
            case w.Send(message):
                assert len(message.SerializeToString()) < 1 << 20
                self.wire.append(message)
            case w.ReadSpool():
                self.reads.append(action)
            case w.Trim(stored):
                self.spool.commit(Commit(trims=[stored]), 0)
            case w.SetAside(refused):
                self.dead.append(refused.reason)
                self.spool.commit(Commit(refusals=[refused]), 0)
            case w.HangUp(reason):
                self.hang_ups.append(reason)
            case w.Fence(fences):
                self.fences.append(list(fences))
            case w.Quiesce(for_s, by):
                self.quiesces.append((for_s, by))

    def sample(self, *, devices: int = 1, padding: int = 0) -> Item:
        self.seq += 1
        item = builders.report(self.seq, self.epoch, devices=devices, padding=padding, previous=self.previous)
        self.previous = self.seq
        self._keep(item)
        self.tell(w.Sampled(item))
        return item

    def happen(self, name: str = "", count: int = 1) -> Item:
        self.seq += 1
        item = builders.event(self.seq, self.epoch, name=name, count=count)
        self._keep(item)
        self.tell(w.Happened(item))
        return item

    def _keep(self, item: Item) -> None:
        dropped = self.spool.commit(Commit([item]), 0)
        if dropped.ranges:
            self.tell(w.Dropped(dropped.ranges, dropped.reports))

    def begin_epoch(self, epoch: str) -> None:
        self.epoch, self.seq, self.previous = epoch, 0, 0
        self.tell(w.EpochBegan(epoch))

    def take(self) -> list[pb.FromAgent]:
        """The wire takes what was sent so far."""
        taken, self.wire = self.wire, []
        for _ in taken:
            self.tell(w.Written())
        return taken

    def read_spool(self) -> None:
        """Answer a question to the spool that is due."""
        if self.reads and self.reads[0].at <= self.now:
            request = self.reads.pop(0)
            items, until = self.spool.read(
                request.epoch, request.lo, request.hi, request.max_bytes, events=request.events
            )
            self.tell(w.SpoolRead(request, until, items))

    def settle(self, seconds: float = 60.0) -> list[pb.FromAgent]:
        """Let time pass until nothing more is sent; what was."""
        sent = []
        end = self.now + seconds
        while self.now < end:
            sent += self.take()
            self.read_spool()
            self.now += 0.05
        return sent

    def welcome(self, judged: tuple[str, int] = ("", 0), **stored: list[tuple[int, int]]) -> None:
        self.tell(w.Received(pb.ToAgent(welcome=pb.Welcome(
            wire=1, evidence_s=120.0, judged_epoch=judged[0], judged_seq=judged[1], stored=encode_ranges(stored)
        ))))

    def connect(self, judged: tuple[str, int] = ("", 0), **stored: list[tuple[int, int]]) -> list[pb.FromAgent]:
        """Dial, say Hello, be welcomed; what was sent up to then."""
        self.tell(w.Dialled())
        hello = self.take()
        self.welcome(judged, **stored)
        return hello

    def ack(self, **stored: list[tuple[int, int]]) -> None:
        self.tell(w.Received(pb.ToAgent(ack=pb.Ack(stored=encode_ranges(stored)))))


def lanes(messages: list[pb.FromAgent]) -> list[tuple[str, str, list[int]]]:
    """What was sent, in short: kind or lane, epoch, numbers."""
    told = []
    for message in messages:
        kind = message.WhichOneof("kind") or ""
        match kind:
            case "reports":
                lane = "judged" if message.reports.lane == pb.LANE_JUDGED else "backlog"
                told.append((lane, message.reports.epoch, [report.seq for report in message.reports.reports]))
            case "events":
                told.append((kind, message.events.epoch, [event.seq for event in message.events.events]))
            case _:
                told.append((kind, "", []))
    return told
