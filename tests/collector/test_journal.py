"""What the collector itself noted."""

from pathlib import Path

from fallow_collector import journal
from fallow_collector.journal import Journal
from fallow_collector.state import State
from fallow_proto.states import EventKind


def test_what_was_noted_is_among_the_devices_events(tmp_path: Path) -> None:
    notes = Journal("run-1", lambda: 1_700_000_000.5)
    notes.note(EventKind.LEASE_EXPIRED, "n1", "g0", "lease a of ci expired")
    notes.note(EventKind.QUARANTINED, "n1", "", "three leases failed")
    state = State(tmp_path)
    state.record(notes.waiting())
    (found,) = state.events_of("g0", 10)
    assert state.event_numbers() == []  # no agent sends it
    state.close()
    assert (found.node, found.epoch, found.kind, found.many) == ("n1", "run-1", "lease_expired", 1)
    assert (found.first_ms, found.last_ms, found.message) == (1_700_000_000_500,) * 2 + ("lease a of ci expired",)


def test_each_event_is_handed_over_once_and_again_when_it_could_not_be_kept() -> None:
    notes = Journal("run-1", lambda: 0.0)
    for device in ("g0", "g1"):
        notes.note(EventKind.RELEASE_STUCK, "n1", device, "still in use")
    taken = notes.waiting()
    assert notes.waiting() == []
    notes.note(EventKind.RELEASE_STUCK, "n1", "g2", "still in use")
    notes.put_back(taken)
    assert [row.device for row in notes.waiting()] == ["g0", "g1", "g2"]
    assert len({row.id for row in taken}) == 2


def test_when_the_disk_takes_nothing_the_oldest_go_and_are_counted() -> None:
    notes = Journal("run-1", lambda: 0.0)
    for number in range(journal.PENDING + 3):
        notes.note(EventKind.LEASE_EXPIRED, "n1", f"g{number}", "")
    assert notes.dropped == 3
    assert notes.waiting()[0].device == "g3"
