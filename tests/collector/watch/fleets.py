"""A small fleet whose devices live as a test says, and a client that believes what a watch tells it."""

import msgspec
import numpy as np

from fallow_collector.api.answers import Where
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle import phase
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import WITNESSES
from fallow_collector.view import View
from fallow_collector.watch.events import watched_of
from fallow_collector.watch.feed import Feed
from fallow_collector.watch.log import Log
from fallow_collector.watch.matching import Filter
from fallow_collector.watch.shown import records
from fallow_proto.dispatch import Change
from fallow_proto.dispatch import Watched as Told
from fallow_proto.states import Allocation
from tests.collector.watching import BUSY, IDLE, Watched, device

QUICK = IdleSettings(confirm_s=3.0, confirm_readings=2, conflict_s=3.0, unmanaged_s=3.0, frozen_s=3.0, evidence_s=20.0)
LEASED = phase.ALLOCATIONS.index(Allocation.LEASED)


class Site:
    """Two nodes with two devices each, of two models."""

    def __init__(self, room: int = 250_000) -> None:
        self.engine = Engine(QUICK)
        self.fleet = Fleet(self.engine, WITNESSES)
        self.first = Watched(device("a0"), device("a1", model="H20"), fleet=self.fleet, engine=self.engine)
        self.second = Watched(
            device("b0"), device("b1", vendor="amd", model="MI300X"), node="n2", fleet=self.fleet, engine=self.engine
        )
        self.lease_ids: dict[int, str] = {}
        self.view = View(self.fleet, self.engine, lambda: self.first.now, lambda: self.first.skew + self.first.now)
        self.feed = Feed(self.fleet, self.view, self.lease_ids.get)
        self.feed.log = Log(self.view.revision, room)
        self.view.refresh()

    def passes(self, seconds: float, busy: frozenset[str] = frozenset(), silent: bool = False) -> None:
        for node in (self.first, self.second):
            node.now += seconds
            if not (silent and node is self.second):
                node.says(*[BUSY if each.uuid in busy else IDLE for each in node.devices])
        self.view.refresh()

    def lease(self, uuid: str, lease_id: str) -> None:
        row = self.row(uuid)
        self.lease_ids[row] = lease_id
        self.fleet.allocation[row] = LEASED
        self.fleet.allocated_at[row] = self.first.now
        self.view.refresh()

    def free(self, uuid: str) -> None:
        row = self.row(uuid)
        self.fleet.allocation[row] = 0
        self.lease_ids.pop(row, None)
        self.view.refresh()

    def row(self, uuid: str) -> int:
        row = self.fleet.find(uuid)
        assert row is not None, uuid
        return row

    def matching(self, where: Where) -> dict[str, Told]:
        """What a list would say now."""
        shown = self.view.shown
        rows = np.flatnonzero(Filter(self.fleet, where)(shown))
        return {
            self.fleet.identities[row].uuid: watched_of(self.fleet, row, record, self.lease_ids.get(row))
            for row, record in zip(rows.tolist(), records(shown, rows), strict=True)
        }


class Client:
    """Applies changes, and remembers where it may resume, as the specification of server-sent events has it."""

    def __init__(self, exact: bool = True) -> None:
        """exact: nothing may be told twice."""
        self.exact = exact
        self.devices: dict[str, Told] = {}
        self.changes: list[Change] = []
        self.last_id = ""

    def hear(self, data: bytes) -> None:
        *events, rest = data.split(b"\n\n")
        assert rest == b"", "a chunk ends with an event"
        for text in events:
            self._event(dict(line.split(b":", 1) for line in text.split(b"\n")))

    def _event(self, fields: dict[bytes, bytes]) -> None:
        change = msgspec.json.decode(fields[b"data"], type=Change)
        assert fields[b"event"].strip().decode() == change.kind
        if b"id" in fields:
            self.last_id = fields[b"id"].strip().decode()
        self.changes.append(change)
        if self.exact and change.device is not None:
            assert (change.kind == "added") == (change.device.uuid not in self.devices)
        match change.kind, change.device:
            case "added" | "modified", Told() as device:
                self.devices[device.uuid] = device
            case "deleted", Told() as device:
                self.devices.pop(device.uuid, None)
