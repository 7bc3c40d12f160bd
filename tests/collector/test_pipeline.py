"""The stages together: real sessions, fleet, judgement and writer, on a store in memory."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from fallow_collector.fleet.arrival import Arrival, decode
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.layouts import bind
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import WITNESSES
from fallow_collector.ingest.session import Terms
from fallow_collector.ingest.streams import Stream
from fallow_collector.pipeline import EVENTS_PENDING, Pipeline
from fallow_collector.series import Source
from fallow_collector.state import EventRow
from fallow_collector.stores.store import Outcome
from fallow_collector.writer import Writer
from fallow_proto.metrics import COLUMN
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.ingest.builders import (
    EPOCH,
    NODE,
    WALL,
    event,
    events,
    fence,
    fenced,
    hello,
    layout,
    ledger,
    listed,
    numbers,
    report,
    reports,
)
from tests.collector.memory_store import MemoryStore

MINE = Source(NODE, EPOCH)


class BrittleFleet(Fleet):
    """A fleet that fails when told to."""

    fails = False

    def apply(self, arrivals: Sequence[Arrival]) -> None:
        if self.fails:
            raise ZeroDivisionError("a fault of the fleet")
        super().apply(arrivals)


class Collector:
    """The pipeline with a clock in its hand."""

    def __init__(self, store: MemoryStore | None = None, pending_bytes: int = 10_000_000) -> None:
        self.store = store or MemoryStore()
        self.fleet = BrittleFleet(Engine(IdleSettings()), WITNESSES)
        self.writer = Writer(self.store, self.fleet.series, pending_bytes=pending_bytes)
        self.pipeline = Pipeline(self.fleet, self.writer, Terms("test", 120.0))
        self.now = 100.0
        self.commit()

    def connect(self, node: str = NODE) -> Stream[Arrival]:
        stream = self.pipeline.streams.open(None, lambda: None)
        self.say(stream, hello(node), layout(node))
        return stream

    def say(self, stream: Stream[Arrival], *messages: pb.FromAgent) -> None:
        for message in messages:
            self.pipeline.streams.received(stream, message.SerializeToString(), self.now, WALL)
            assert stream.closed is None, stream.closed

    def turn(self) -> None:
        self.now += 0.05
        self.pipeline.flush(self.now)

    def commit(self) -> None:
        self.now += 60.0  # longer than any patience with the store
        self.pipeline.deliver(self.writer.step(self.now, WALL))
        self.pipeline.ask_again()

    def shown(self, uuid: str, metric: str) -> float:
        row = self.fleet.find(uuid)
        assert row is not None
        return float(self.fleet.values[row, COLUMN[metric]])


def acknowledged(stream: Stream[Arrival]) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, RangeSet] = {}
    for message in stream.outgoing():
        for epoch, pairs in numbers(message.ack.stored).items():
            found.setdefault(epoch, RangeSet()).update(pairs)
    return {epoch: list(pairs) for epoch, pairs in found.items()}


def asked_again(stream: Stream[Arrival]) -> dict[str, list[tuple[int, int]]]:
    return {
        epoch: pairs for message in stream.outgoing() for epoch, pairs in numbers(message.resend.lost).items()
    }


def test_a_report_is_shown_stored_and_acknowledged_in_this_order() -> None:
    collector = Collector()
    stream = collector.connect()
    collector.say(stream, reports(1))
    collector.turn()
    assert collector.shown(f"{NODE}-gpu-1", "power_watts") == 60.0
    assert acknowledged(stream) == {}
    collector.commit()
    assert collector.store.copies == {(MINE, 1): 1}
    assert acknowledged(stream) == {EPOCH: [(1, 1)]}


def test_the_rows_that_are_stored_carry_the_numbers_and_the_tags_that_were_reported() -> None:
    collector = Collector()
    collector.say(collector.connect(), reports(3))
    collector.turn()
    collector.commit()
    (batch,) = collector.store.batches
    (rows,) = batch.rows
    assert [batch.series[position].uuid for position in rows.series] == [f"{NODE}-gpu-0", f"{NODE}-gpu-1"]
    assert batch.series[0].vendor == "nvidia"
    assert rows.time_ms.tolist() == [int(WALL * 1000) + 3000] * 2
    assert dict(zip(rows.gauge_names, rows.gauges[0].tolist(), strict=True))["power_watts"] == 60.0
    assert rows.counters.tolist() == [[180.0], [180.0]]


def test_what_no_device_can_mean_is_neither_shown_nor_stored() -> None:
    collector = Collector()
    absurd = pb.Readings(block=0, gauges=[65535.0, -1.0, math.inf, math.nan] * 2, counters=[-math.inf] * 2)
    collector.say(collector.connect(), reports(report(1, readings=[absurd])))
    collector.turn()
    collector.commit()
    assert math.isnan(collector.shown(f"{NODE}-gpu-0", "power_watts"))
    (rows,) = collector.store.batches[0].rows
    assert np.isnan(rows.gauges).all()
    assert np.isnan(rows.counters).all()


def test_the_backlog_is_stored_and_changes_nothing_that_is_shown() -> None:
    collector = Collector()
    stream = collector.connect()
    collector.say(stream, reports(5), reports(1, 2, lane=pb.LANE_BACKLOG))
    collector.turn()
    collector.commit()
    assert collector.fleet.judged(NODE) == (EPOCH, 5)
    assert acknowledged(stream) == {EPOCH: [(1, 2), (5, 5)]}


def test_a_new_stream_is_told_what_is_stored_and_what_was_judged_last_even_an_instant_ago() -> None:
    collector = Collector()
    first = collector.connect()
    collector.say(first, reports(1))
    collector.turn()
    collector.commit()
    collector.say(first, reports(2))
    second = collector.connect()
    welcome = second.outgoing()[0].welcome
    assert numbers(welcome.stored) == {EPOCH: [(1, 1)]}
    assert (welcome.judged_epoch, welcome.judged_seq) == (EPOCH, 2)


def test_a_store_that_is_down_stops_acknowledgements_and_nothing_else() -> None:
    collector = Collector()
    stream = collector.connect()
    collector.store.down = "disk full"
    collector.say(stream, reports(1))
    collector.turn()
    collector.commit()
    assert collector.shown(f"{NODE}-gpu-0", "power_watts") == 60.0
    assert collector.writer.problem == "disk full"
    assert acknowledged(stream) == {}
    collector.store.down = ""
    collector.commit()
    assert acknowledged(stream) == {EPOCH: [(1, 1)]}


def test_a_long_outage_of_the_store_costs_bounded_memory_and_no_report() -> None:
    collector = Collector(pending_bytes=2_000)
    stream = collector.connect()
    collector.store.down = "gone"
    for number in range(1, 101):
        collector.say(stream, reports(number))
        collector.turn()
    assert collector.writer.pending_bytes < 3_000
    assert collector.pipeline.dropped > 50
    assert collector.fleet.judged(NODE) == (EPOCH, 100), "live judgement goes on"
    collector.commit()
    assert asked_again(stream) == {}, "there is no room to ask for"
    collector.store.down = ""
    stored: set[int] = set()
    for _ in range(100):
        collector.commit()
        for message in stream.outgoing():
            stored.update(n for lo, hi in numbers(message.ack.stored).get(EPOCH, []) for n in range(lo, hi + 1))
            for lo, hi in numbers(message.resend.lost).get(EPOCH, []):
                for number in range(lo, hi + 1):
                    collector.say(stream, reports(number, lane=pb.LANE_BACKLOG))
                    collector.turn()
        if len(stored) == 100:
            break
    assert stored == set(range(1, 101))
    assert set(collector.store.copies.values()) == {1}


def test_a_store_that_opens_late_is_given_only_what_it_lacks() -> None:
    store = MemoryStore()
    store.down = "another collector holds it"
    store.ranges[MINE] = RangeSet([(1, 2)])
    collector = Collector(store)
    stream = collector.connect()
    collector.say(stream, reports(1, 2, 3))
    collector.turn()
    assert collector.fleet.judged(NODE) == (EPOCH, 3)
    store.down = ""
    collector.commit()
    messages = stream.outgoing()
    assert [numbers(m.ack.stored) for m in messages if m.HasField("ack")] == [{EPOCH: [(1, 2)]}]
    assert [numbers(m.resend.lost) for m in messages if m.HasField("resend")] == [{EPOCH: [(3, 3)]}]


def test_what_the_store_lost_before_it_settled_is_asked_for_again_and_taken_again() -> None:
    class Forgetful(MemoryStore):
        def poll(self, now: float) -> Outcome:
            return self.lose_unsettled() if self.settling else super().poll(now)

    store = Forgetful()
    store.settling = True
    collector = Collector(store)
    stream = collector.connect()
    collector.say(stream, reports(1))
    collector.turn()
    collector.commit()
    assert asked_again(stream) == {EPOCH: [(1, 1)]}
    store.settling = False
    collector.say(stream, reports(1, lane=pb.LANE_BACKLOG))
    collector.turn()
    collector.commit()
    assert acknowledged(stream) == {EPOCH: [(1, 1)]}
    assert store.copies == {(MINE, 1): 1}


def test_a_failure_of_the_judgement_does_not_keep_reports_from_the_store(caplog: pytest.LogCaptureFixture) -> None:
    collector = Collector()
    stream = collector.connect()
    collector.fleet.fails = True
    collector.say(stream, reports(1))
    collector.turn()
    collector.commit()
    assert acknowledged(stream) == {EPOCH: [(1, 1)]}
    assert collector.pipeline.failures == {"fleet": 1}
    assert "BUG: a stage failed stage=fleet" in caplog.text


def test_a_report_that_makes_no_rows_by_our_own_fault_is_refused_and_spoils_no_other() -> None:
    collector = Collector()
    stream = collector.connect()
    binding = bind(collector.fleet, collector.fleet.node_number(NODE), layout().layout)
    sound = decode(binding, EPOCH, report(2), receipt=0.0)
    broken = replace(sound, values=tuple(replace(each, gauges=each.gauges[:, 0]) for each in sound.values))
    collector.say(stream, reports(1))
    collector.pipeline.take(MINE, [], [broken], [2])
    collector.say(stream, reports(3))
    collector.turn()
    collector.commit()
    messages = stream.outgoing()
    assert [numbers(m.refuse.refused) for m in messages if m.HasField("refuse")] == [{EPOCH: [(2, 2)]}]
    assert [numbers(m.ack.stored) for m in messages if m.HasField("ack")] == [{EPOCH: [(1, 1), (3, 3)]}]


def test_a_layout_of_the_wrong_hash_and_a_report_of_the_wrong_size_are_refused() -> None:
    collector = Collector()
    stream = collector.connect()
    forged = pb.FromAgent(layout=pb.Layout(hash=b"0" * 16, blocks=layout().layout.blocks))
    forged_reports = pb.FromAgent(reports=pb.Reports(
        epoch=EPOCH, layout=b"0" * 16, lane=pb.LANE_JUDGED, reports=[report(1)]
    ))
    short = report(2, readings=[pb.Readings(block=0, gauges=[1.0], counters=[1.0])])
    collector.say(stream, forged, forged_reports, reports(short))
    reasons = [message.refuse.reason for message in stream.outgoing() if message.HasField("refuse")]
    assert reasons == [
        "bad_layout: the layout's hash is not that of its blocks",
        "malformed: 1 gauges and 1 counters, expected 8 and 2 of 2 devices",
    ]


def test_events_are_acknowledged_when_they_are_kept_whatever_the_store_does() -> None:
    collector = Collector()
    collector.store.down = "gone"
    stream = collector.connect()
    collector.say(stream, events(event(1), event(2)))
    waiting = collector.pipeline.waiting_events()
    assert waiting is not None
    assert [(row.node, row.epoch, row.id) for row in waiting.rows] == [(*MINE, "event-1"), (*MINE, "event-2")]
    assert acknowledged(stream) == {}
    collector.pipeline.events_are_put_back(waiting)
    again = collector.pipeline.waiting_events()
    assert again == waiting
    collector.pipeline.events_are_kept(waiting)
    assert acknowledged(stream) == {EPOCH: [(1, 2)]}


@pytest.mark.parametrize(("ahead_s", "expected_s"), [(3600, 0.0), (-3600, 0.0), (1, 1.0)])
def test_events_are_kept_with_the_collector_s_time_where_their_node_s_clock_is_wrong(
    ahead_s: int, expected_s: float
) -> None:
    collector = Collector()
    stream = collector.connect()
    at_ms = round((WALL + ahead_s) * 1000)
    collector.say(stream, reports(report(1, time_ms=at_ms)))
    collector.pipeline.flush(collector.now)
    collector.say(stream, events(event(2, first_ms=at_ms - 500, last_ms=at_ms)))
    waiting = collector.pipeline.waiting_events()
    assert waiting is not None
    (row,) = collector.pipeline.dated(waiting, collector.now, WALL)
    assert row.last_ms == round((WALL + expected_s) * 1000)
    assert row.last_ms - row.first_ms == 500


def test_a_flood_of_events_stays_with_the_agents_until_there_is_room() -> None:
    collector = Collector()
    stream = collector.connect()
    batches = range(0, EVENTS_PENDING + 1000, 1000)
    for first in batches:
        collector.say(stream, events(*(event(first + n) for n in range(1, 1001))))
    waiting = collector.pipeline.waiting_events()
    assert waiting is not None
    assert len(waiting.rows) == EVENTS_PENDING
    collector.pipeline.ask_again()
    assert asked_again(stream) == {EPOCH: [(EVENTS_PENDING + 1, EVENTS_PENDING + 1000)]}


def test_so_many_reports_at_once_are_judged_before_they_pile_up() -> None:
    collector = Collector()
    stream = collector.connect()
    for first in range(1, 4401, 400):
        collector.say(stream, reports(*(report(n, time_ms=int(WALL * 1000) + n) for n in range(first, first + 400))))
    assert collector.pipeline.judged > 0


class Listener:
    """Keeps what it hears of leases and ledgers, and answers a Hello with a fence, as a desk does."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.fails = False
        self._pipeline = pipeline

    def hello(self, hello: pb.Hello, now: float) -> None:
        if self.fails:
            raise ZeroDivisionError("a fault of the leases")
        self.heard.append(("hello", hello.node, list(hello.fences), now))
        assert self._pipeline.streams.send_fences(hello.node, [fence()])

    def fenced(self, node: str, fences: Sequence[pb.DeviceFence], now: float) -> None:
        self.heard.append(("fenced", node, list(fences), now))

    def ledger(self, node: str, ledger: pb.Ledger, now: float) -> None:
        self.heard.append(("ledger", node, ledger, now))

    def processes(self, node: str, told: pb.Processes) -> None:
        self.heard.append(("processes", node, told))

    def gone(self, node: str) -> None:
        self.heard.append(("gone", node))

    def events(self, rows: Sequence[EventRow]) -> None:
        self.heard.append(("events", list(rows)))


def test_who_listens_hears_of_hellos_fences_and_ledgers_and_reaches_the_node_after_its_welcome() -> None:
    collector = Collector()
    assert not collector.pipeline.streams.send_fences(NODE, [fence()]), "it has no stream"
    listener = collector.pipeline.heard = Listener(collector.pipeline)
    stream = collector.connect()
    assert [message.WhichOneof("kind") for message in stream.outgoing()] == ["welcome", "fence"]
    collector.say(stream, fenced(fence()), ledger(), hello(fences=[fence()]))
    assert listener.heard == [
        ("hello", NODE, [], collector.now),
        ("fenced", NODE, [fence()], collector.now),
        ("ledger", NODE, ledger().ledger, collector.now),
        ("hello", NODE, [fence()], collector.now),
    ]
    assert [list(message.fence.fences) for message in stream.outgoing()] == [[fence()]]
    collector.say(stream, listed())
    collector.pipeline.streams.closed(stream, collector.now)
    assert listener.heard[4:] == [("processes", NODE, listed().processes), ("gone", NODE)]
    assert not collector.pipeline.streams.send_fences(NODE, [fence()])


def test_what_a_nodes_spool_let_go_is_known_from_its_hello_on_and_grows_with_its_reports() -> None:
    collector = Collector()
    stream = collector.connect()
    assert dropped_on(collector) is None, "an older agent does not say"
    collector.say(stream, hello(spool_dropped=0))
    assert dropped_on(collector) == 0
    message = reports(1)
    message.reports.spool_dropped = 12
    collector.say(stream, message)
    assert dropped_on(collector) == 12


def test_what_waits_for_the_store_is_as_old_as_its_oldest_report() -> None:
    collector = Collector()
    stream = collector.connect()
    assert collector.pipeline.unacknowledged(collector.now) == {}
    collector.say(stream, reports(1))
    collector.turn()
    began = collector.now
    collector.store.down = "no space left"
    collector.commit()
    collector.say(stream, reports(2))
    collector.turn()
    assert collector.pipeline.unacknowledged(collector.now) == {NODE: began}
    collector.store.down = ""
    collector.commit()
    collector.commit()
    assert collector.pipeline.unacknowledged(collector.now) == {}


def test_what_found_no_room_on_the_way_to_the_store_waits_as_well_until_it_has_come_again() -> None:
    collector = Collector(pending_bytes=100)
    stream = collector.connect()
    collector.say(stream, reports(1))
    collector.turn()
    collector.say(stream, reports(2))
    collector.turn()
    assert collector.pipeline.dropped == 1
    noticed = collector.now
    collector.pipeline.unacknowledged(noticed)
    collector.now += 100.0
    collector.pipeline.deliver(collector.writer.step(collector.now, WALL))
    assert collector.pipeline.unacknowledged(collector.now) == {NODE: noticed}
    collector.commit()
    assert asked_again(stream) == {EPOCH: [(2, 2)]}
    collector.say(stream, reports(2))
    collector.turn()
    collector.commit()
    assert collector.pipeline.unacknowledged(collector.now) == {}


@pytest.mark.parametrize("flushed", ["before the store is open", "before anybody is told", "after that"])
def test_reports_that_come_while_the_store_opens_are_not_stored_twice(flushed: str) -> None:
    store = MemoryStore()
    store.down = "an error of the disk"
    store.ranges[MINE] = RangeSet([(1, 3)])
    collector = Collector(store)
    stream = collector.connect()
    collector.say(stream, reports(1, 2, 3, 4))
    store.down = ""
    if flushed == "before the store is open":
        collector.turn()
    progress = collector.writer.step(collector.now + 60.0, WALL)
    if flushed == "before anybody is told":
        collector.turn()
    collector.pipeline.deliver(progress)
    collector.turn()
    collector.commit()
    assert asked_again(stream) == {EPOCH: [(4, 4)]}
    collector.say(stream, reports(4))
    collector.turn()
    collector.commit()
    assert store.copies == {(MINE, 4): 1}


def dropped_on(collector: Collector) -> int | None:
    node = collector.fleet.node(NODE)
    assert node is not None
    return node.spool_dropped


def test_a_failure_of_the_leases_costs_no_stream_and_no_report() -> None:
    collector = Collector()
    listener = collector.pipeline.heard = Listener(collector.pipeline)
    listener.fails = True
    stream = collector.connect()
    collector.say(stream, reports(1))
    collector.turn()
    assert collector.fleet.judged(NODE) == (EPOCH, 1)
    assert collector.pipeline.failures == {"leases": 1}


def test_where_nobody_listens_fences_and_ledgers_are_heard_and_change_nothing() -> None:
    collector = Collector()
    stream = collector.connect()
    collector.say(stream, fenced(fence()), ledger(), listed(), reports(1))
    collector.turn()
    assert collector.fleet.judged(NODE) == (EPOCH, 1)
    assert collector.pipeline.failures == {}
