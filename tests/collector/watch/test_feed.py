"""Whatever happens and whenever a watcher is cut off: what it was told adds up to what a list says."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallow_collector.api.answers import Where
from fallow_collector.watch.feed import Watcher
from fallow_collector.watch.log import Log, joined
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.watch.fleets import Client, Site
from tests.collector.watching import device

FILTERS = (
    Where(), Where(phase=("idle",)), Where(phase=("verifying", "leased")), Where(node=("n2",)), Where(model=("H20",)),
    Where(vendor=("amd",), phase=("idle", "unmanaged")), Where(site=("nowhere",)), Where(device_class=("intelligent",)),
)


def leave(site: Site, uuid: str) -> None:
    """Its node no longer has it, and an operator forgets it."""
    site.second.devices = tuple(each for each in site.second.devices if each.uuid != uuid)
    if site.second.devices:
        site.second.hello()
        if (row := site.fleet.find(uuid)) is not None and not site.fleet.present[row]:
            site.fleet.retire(row)
    site.view.refresh()


def join(site: Site, uuid: str) -> None:
    """It comes to the second node, perhaps from the first one."""
    if all(each.uuid != uuid for each in site.second.devices):
        site.second.devices = (*site.second.devices, device(uuid))
        site.second.hello()
    site.view.refresh()


DOINGS: dict[str, Callable[[Site], None]] = {
    "quiet": lambda site: site.passes(1.0),
    "busy": lambda site: site.passes(1.0, frozenset({"a0", "b1"})),
    "silence": lambda site: site.passes(6.0, silent=True),
    "lease": lambda site: site.lease("a1", f"lease-{site.first.now}"),
    "free": lambda site: site.free("a1"),
    "leave": lambda site: leave(site, "b1"),
    "join": lambda site: join(site, "b1"),
    "move": lambda site: join(site, "a0"),
    "nothing": lambda site: None,
}
STEPS = st.lists(
    st.tuples(st.sampled_from(["quiet"] * 3 + list(DOINGS)), st.sampled_from(["read"] * 3 + ["lag", "cut"])),
    min_size=1, max_size=25,
)


def read(watcher: Watcher, client: Client) -> None:
    for chunk in watcher.news():
        client.hear(chunk)


def resumed(site: Site, where: Where, client: Client) -> Watcher:
    epoch, revision = client.last_id.split(":")
    assert epoch == site.view.epoch
    return Watcher(site.feed, where, int(revision))


@settings(deadline=None, max_examples=120)
@given(STEPS, st.sampled_from(FILTERS), st.sampled_from([250_000, 6]))
def test_what_a_watcher_was_told_adds_up_to_the_list(
    steps: list[tuple[str, str]], where: Where, room: int
) -> None:
    site, client = Site(room), Client()
    watcher = Watcher(site.feed, where, None)
    read(watcher, client)
    client.hear(watcher.bookmark(site.view.now()))
    for doing, reading in steps:
        DOINGS[doing](site)
        if reading == "lag":
            continue
        if reading == "cut":
            watcher = resumed(site, where, client)
        if watcher.lost:
            assert room == 6, "all that happened here has room in a log of the usual size"
            client = Client()
            watcher = Watcher(site.feed, where, None)
        read(watcher, client)
        client.hear(watcher.bookmark(site.view.now()))
        assert client.devices == site.matching(where)
        assert client.last_id == f"{site.view.epoch}:{site.view.revision}"


@settings(deadline=None, max_examples=60)
@given(STEPS, st.sampled_from(FILTERS), st.integers(0, 3))
def test_a_cut_between_two_changes_of_a_revision_loses_none_of_them(
    steps: list[tuple[str, str]], where: Where, heard: int
) -> None:
    site, client = Site(), Client(exact=False)
    watcher = Watcher(site.feed, where, None)
    read(watcher, client)
    client.hear(watcher.bookmark(site.view.now()))
    for doing, _ in steps:
        DOINGS[doing](site)
        events = b"".join(watcher.news()).split(b"\n\n")[:-1]
        client.hear(b"".join(event + b"\n\n" for event in events[:heard]))
        watcher = resumed(site, where, client)
        read(watcher, client)
        assert client.devices == site.matching(where)


def test_a_device_that_begins_to_match_is_added_and_one_that_ceases_is_deleted() -> None:
    site, client = Site(), Client()
    for _ in range(5):
        site.passes(1.0)
    watcher = Watcher(site.feed, Where(phase=("idle",)), None)
    read(watcher, client)
    assert {change.kind for change in client.changes} == {"added"}
    client.changes.clear()
    site.passes(1.0, busy=frozenset({"a0"}))
    read(watcher, client)
    assert [(change.kind, change.device.uuid, change.device.phase) for change in client.changes if change.device] == [
        ("deleted", "a0", "unmanaged")
    ]


def test_a_slow_reader_is_told_the_newest_state_only() -> None:
    site, client = Site(), Client()
    watcher = Watcher(site.feed, Where(), None)
    read(watcher, client)
    client.changes.clear()
    before = site.view.revision
    for second in range(8):
        site.passes(1.0, busy=frozenset({"a0"}) if second % 2 else frozenset())
    read(watcher, client)
    told = [change.device.uuid for change in client.changes if change.device]
    assert sorted(told) == ["a0", "a1", "b0", "b1"]
    assert site.view.revision - before > 4
    assert {change.revision for change in client.changes} == {site.view.revision}


def test_watchers_of_the_same_are_told_the_very_same_bytes() -> None:
    site = Site()
    first, second = (Watcher(site.feed, Where(), site.view.revision) for _ in range(2))
    site.passes(1.0, busy=frozenset({"a0"}))
    one, other = list(first.news()), list(second.news())
    assert len(one) == 1
    assert one[0] is other[0]


def test_another_lease_of_the_same_device_is_a_change() -> None:
    site, client = Site(), Client()
    site.lease("a1", "lease-1")
    watcher = Watcher(site.feed, Where(phase=("leased",)), None)
    read(watcher, client)
    site.first.now += 0.5
    site.lease("a1", "lease-2")
    read(watcher, client)
    assert [change.device.lease_id for change in client.changes if change.device] == ["lease-1", "lease-2"]


def test_the_first_bookmark_says_how_old_and_how_complete_what_was_listed_is() -> None:
    site, client = Site(), Client()
    site.passes(1.0)
    watcher = Watcher(site.feed, Where(node=("n1",)), None)
    read(watcher, client)
    site.first.now += 0.25
    client.hear(watcher.bookmark(site.view.refresh()))
    bookmark = client.changes[-1]
    assert (bookmark.kind, bookmark.complete, bookmark.max_age_ms) == ("bookmark", True, 250)
    site.fleet.declare("gone", "n9", "s1", "", "", "")
    client.hear(watcher.bookmark(site.view.refresh()))
    assert client.changes[-1].complete is False


def test_a_bookmark_is_not_complete_while_a_reader_may_hide_devices() -> None:
    site, client = Site(), Client()
    site.passes(1.0)
    watcher = Watcher(site.feed, Where(node=("n1",)), None)
    read(watcher, client)
    site.first.hello(readers=[pb.Reader(name="ascend", state="stuck", since_ms=1, message="no answer")])
    client.hear(watcher.bookmark(site.view.refresh()))
    assert client.changes[-1].complete is False


def test_a_bookmark_of_devices_that_were_never_read_has_no_age() -> None:
    site, client = Site(), Client()
    site.fleet.declare("gone", "n9", "s1", "", "", "")
    watcher = Watcher(site.feed, Where(node=("n9",)), None)
    read(watcher, client)
    client.hear(watcher.bookmark(site.view.refresh()))
    assert [change.kind for change in client.changes] == ["added", "bookmark"]
    assert client.changes[-1].max_age_ms is None


@pytest.mark.parametrize("revision", [-1, 10**9])
def test_a_revision_that_never_was_cannot_be_resumed(revision: int) -> None:
    assert Watcher(Site().feed, Where(), revision).lost


def test_the_log_keeps_no_more_than_it_has_room_for() -> None:
    site = Site(room=6)
    for second in range(20):
        site.passes(1.0, busy=frozenset({"a0", "a1", "b0", "b1"}) if second % 8 < 3 else frozenset())
    log = site.feed.log
    assert log.oldest > 1
    assert log.covers(log.newest)
    assert not log.covers(log.oldest - 1)
    assert log.newest - log.oldest <= 6


def test_what_came_back_to_what_it_was_is_no_change() -> None:
    site = Site()
    before = site.view.revision
    site.fleet.service[0] = 1
    site.view.refresh()
    site.fleet.service[0] = 0
    site.view.refresh()
    deltas = [site.feed.log.since(revision) for revision in (before, before + 1)]
    assert [len(delta.rows) for delta in deltas if delta] == [0, 1]
    assert Log(0).since(0) is None
    assert joined([delta for delta in deltas[1:] if delta]) is deltas[1]
