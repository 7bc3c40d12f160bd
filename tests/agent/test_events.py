"""A storm is one event whose count grows, and is sent again at most once a second."""

from fallow_agent.events import MOST, Events
from fallow_agent.happening import Happening
from fallow_proto.states import EventKind
from fallow_proto.v1 import telemetry_pb2 as pb


def said(events: list[pb.Event]) -> list[tuple[str, str, int]]:
    return [(event.id, event.kind, event.count) for event in events]


def test_the_first_is_sent_at_once_and_the_storm_after_it_once_a_second() -> None:
    events = Events()
    sent = []
    for tenth in range(31):
        events.note(Happening(EventKind.READER_FAILED, "gpu0", "no answer"), 1_000 + tenth * 100, tenth / 10)
        sent += said(events.due(tenth / 10))
    assert sent == [
        ("1", "reader_failed", 1), ("1", "reader_failed", 11), ("1", "reader_failed", 21), ("1", "reader_failed", 31)
    ]


def test_first_and_last_time_and_the_newest_message_are_told() -> None:
    events = Events()
    events.note(Happening(EventKind.SPOOL_DROPPED, "", "5 reports", times=5), 1_000, 1.0)
    events.note(Happening(EventKind.SPOOL_DROPPED, "", "2 reports", times=2), 9_000, 9.0)
    assert events.due(9.0) == [
        pb.Event(id="1", kind="spool_dropped", count=7, first_ms=1_000, last_ms=9_000, message="2 reports")
    ]
    assert events.due(20.0) == []


def test_kinds_and_devices_are_told_apart() -> None:
    events = Events()
    events.note(Happening(EventKind.DEVICE_VANISHED, "gpu0", ""), 1_000, 1.0)
    events.note(Happening(EventKind.DEVICE_VANISHED, "gpu1", ""), 1_000, 1.0)
    events.note(Happening(EventKind.DEVICE_APPEARED, "gpu1", ""), 1_000, 1.0)
    assert [event.id for event in events.due(1.0)] == ["1", "2", "3"]


def test_after_a_quiet_minute_the_same_again_is_a_new_event() -> None:
    events = Events()
    events.note(Happening(EventKind.READER_STUCK, "", ""), 1_000, 1.0)
    assert said(events.due(1.0)) == [("1", "reader_stuck", 1)]
    assert events.due(100.0) == []
    events.note(Happening(EventKind.READER_STUCK, "", ""), 101_000, 101.0)
    assert said(events.due(101.0)) == [("2", "reader_stuck", 1)]


def test_what_was_sent_does_not_change_afterwards() -> None:
    events = Events()
    events.note(Happening(EventKind.READER_STUCK, "", ""), 1_000, 1.0)
    first = events.due(1.0)[0]
    events.note(Happening(EventKind.READER_STUCK, "", ""), 2_000, 2.0)
    assert first.count == 1


def test_the_same_xid_told_by_two_witnesses_is_one_event_with_the_words_that_say_more() -> None:
    events = Events()
    events.note(Happening(EventKind.XID, "gpu0", "Xid 79", 79, "nvml"), 1_000, 1.0)
    events.note(Happening(EventKind.XID, "gpu0", "NVRM: Xid …: 79, pid=7", 79, "kernel"), 1_400, 1.4)
    events.note(Happening(EventKind.XID, "gpu0", "NVRM: fallen off the bus", 79, "kernel", times=0), 1_500, 1.5)
    events.note(Happening(EventKind.XID, "gpu0", "Xid 79", 79, "nvml"), 2_000, 2.0)
    assert events.due(2.0) == [pb.Event(
        id="1", kind="xid", device="gpu0", count=2, first_ms=1_000, last_ms=2_000, code=79, source="kernel",
        message="NVRM: fallen off the bus",
    )]


def test_words_without_a_number_are_an_event_when_nothing_else_counts_it() -> None:
    events = Events()
    events.note(Happening(EventKind.XID, "gpu0", "NVRM: fallen off the bus", 79, "kernel", times=0), 1_000, 1.0)
    assert [event.count for event in events.due(1.0)] == [1]


def test_codes_are_told_apart() -> None:
    events = Events()
    for code in (31, 13, 31):
        events.note(Happening(EventKind.XID, "gpu0", "", code, "nvml"), 1_000, 1.0)
    assert [(event.code, event.count) for event in events.due(1.0)] == [(31, 2), (13, 1)]


def test_what_happened_before_the_start_is_told_in_full_although_minutes_lie_between() -> None:
    events = Events()
    for at in (10.0, 500.0, 1_000.0):
        events.note(Happening(EventKind.XID, "gpu0", "", 63, "kernel"), round(at * 1_000), at)
    assert [(event.id, event.first_ms) for event in events.due(2_000.0)] == [
        ("1", 10_000), ("2", 500_000), ("3", 1_000_000)
    ]


def test_a_storm_of_29_kinds_leaves_29_events_in_memory_and_tells_each_at_once() -> None:
    events = Events()
    told: dict[int, int] = {}
    for number in range(200 * 300):
        now = number / 200
        events.note(Happening(EventKind.XID, "gpu0", "", number % 29, "kernel"), round(now * 1_000), now)
        if number % 200 == 199:
            for event in events.due(now):
                told[event.code] = event.count
            assert len(told) == 29
            assert len(events._storms) == 29
    assert sum(told.values()) == 200 * 300


def test_invented_codes_do_not_fill_the_memory() -> None:
    events = Events()
    for code in range(10 * MOST):
        events.note(Happening(EventKind.XID, "gpu0", "", code, "kernel"), 1_000, 1.0)
    due = events.due(1.0)
    assert len(due) == MOST + 1
    assert sum(event.count for event in due) == 10 * MOST
    assert not due[-1].HasField("code")


def test_at_the_end_all_is_told_that_happened_since_it_was_told_last() -> None:
    events = Events()
    events.note(Happening(EventKind.XID, "gpu0", "79", 79), 1_000, 1.0)
    events.due(1.0)
    events.note(Happening(EventKind.XID, "gpu0", "79", 79), 1_100, 1.1)
    assert events.due(1.2) == []
    (event,) = events.due(1.2, last=True)
    assert (event.count, event.last_ms) == (2, 1_100)
    assert events.due(1.2, last=True) == []
