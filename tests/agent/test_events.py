"""A storm is one event whose count grows, and is sent again at most once a second."""

from fallow_agent.events import Events
from fallow_proto.v1 import telemetry_pb2 as pb


def said(events: list[pb.Event]) -> list[tuple[str, str, int]]:
    return [(event.id, event.kind, event.count) for event in events]


def test_the_first_is_sent_at_once_and_the_storm_after_it_once_a_second() -> None:
    events = Events()
    sent = []
    for tenth in range(31):
        events.note("reader_failed", "gpu0", "no answer", 1_000 + tenth * 100, tenth / 10)
        sent += said(events.due(tenth / 10))
    assert sent == [
        ("1", "reader_failed", 1), ("1", "reader_failed", 11), ("1", "reader_failed", 21), ("1", "reader_failed", 31)
    ]


def test_first_and_last_time_and_the_newest_message_are_told() -> None:
    events = Events()
    events.note("spool_dropped", "", "5 reports", 1_000, 1.0, times=5)
    events.note("spool_dropped", "", "2 reports", 9_000, 9.0, times=2)
    assert events.due(9.0) == [
        pb.Event(id="1", kind="spool_dropped", count=7, first_ms=1_000, last_ms=9_000, message="2 reports")
    ]
    assert events.due(20.0) == []


def test_kinds_and_devices_are_told_apart() -> None:
    events = Events()
    events.note("device_vanished", "gpu0", "", 1_000, 1.0)
    events.note("device_vanished", "gpu1", "", 1_000, 1.0)
    events.note("device_appeared", "gpu1", "", 1_000, 1.0)
    assert [event.id for event in events.due(1.0)] == ["1", "2", "3"]


def test_after_a_quiet_minute_the_same_again_is_a_new_event() -> None:
    events = Events()
    events.note("reader_stuck", "", "", 1_000, 1.0)
    assert said(events.due(1.0)) == [("1", "reader_stuck", 1)]
    assert events.due(100.0) == []
    events.note("reader_stuck", "", "", 101_000, 101.0)
    assert said(events.due(101.0)) == [("2", "reader_stuck", 1)]


def test_what_was_sent_does_not_change_afterwards() -> None:
    events = Events()
    events.note("reader_stuck", "", "", 1_000, 1.0)
    first = events.due(1.0)[0]
    events.note("reader_stuck", "", "", 2_000, 2.0)
    assert first.count == 1
