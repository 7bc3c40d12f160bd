import asyncio
from collections.abc import Iterator

import pytest

from fallow_client import AsyncClient, Client, Cut, Malformed, Refused, Unreachable, Where
from fallow_client.following import SILENCE_S, Event, Following
from fallow_client.mirror import Mirror
from fallow_client.sse import MOST_BYTES, Decoder, ServerSent
from fallow_proto import api
from fallow_proto.dispatch import Change
from tests.client.dispatching import Dispatching, told, watched
from tests.collector.api.served import serving
from tests.e2e.programs import until

LIST = [told("added", 5, watched("g1"), last=False), told("added", 5, watched("g2"), last=False)]
LISTED = told("bookmark", 5, complete=True, max_age_ms=300)


@pytest.fixture
def parts() -> Dispatching:
    return Dispatching()


@pytest.fixture
def address(parts: Dispatching) -> Iterator[str]:
    with serving(parts.app) as url:
        yield url


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_bytes_come(size: int) -> None:
    stream = (
        b": hello\r\n\r\nid: a:1\r\nevent: added\r\ndata: {1}\r\n\r\n"
        b"data: one\ndata:two\n\nid: lost\n\nevent: x\ndata: 3\n\nid:\ndata: \xe2\x80\xa8\r\r"
        b"data: unfinished"
    )
    decoder = Decoder()
    found = [event for at in range(0, len(stream), size) for event in decoder.feed(stream[at:at + size])]
    assert found == [
        ServerSent("added", "a:1", b"{1}"), ServerSent("message", None, b"one\ntwo"),
        ServerSent("x", None, b"3"), ServerSent("message", "", "\u2028".encode()),
    ]


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    decoder = Decoder()
    decoder.feed(b"x" * MOST_BYTES)
    with pytest.raises(Malformed, match="is this a collector"):
        decoder.feed(b"x")


def kinds(events: list[Change]) -> list[str]:
    return [event.kind for event in events]


def test_a_watch_resumes_after_the_last_revision_that_came_whole() -> None:
    following = Following()
    following.connected(0.0)
    assert kinds(following.feed(b"".join(LIST), 0.0)) == ["added", "added"]
    assert following.resume == ""  # a list that is cut short comes again
    following.feed(LISTED, 0.0)
    assert following.resume == "b7c1:5"
    following.feed(told("modified", 6, watched("g1"), last=False), 0.0)
    assert following.resume == "b7c1:5"  # half of revision 6
    following.feed(told("modified", 6, watched("g2")), 0.0)
    assert following.resume == "b7c1:6"
    following.feed(told("resync", 9), 0.0)
    assert following.resume == ""


def test_what_came_before_a_cut_does_not_spoil_what_comes_after() -> None:
    following = Following()
    following.connected(0.0)
    following.feed(LISTED + told("modified", 6, watched("g1"))[:-30], 0.0)
    following.broken(Unreachable("cut"))
    following.connected(1.0)
    assert kinds(following.feed(told("modified", 6, watched("g1")), 1.0)) == ["modified"]


def test_silence_without_a_bookmark_breaks_a_watch_even_if_something_trickles() -> None:
    following = Following()
    following.connected(100.0)
    following.feed(LISTED, 110.0)
    following.feed(b": here\n\n", 110.0 + SILENCE_S)
    with pytest.raises(Unreachable, match="silent for 30 s"):
        following.feed(b": here\n\n", 110.1 + SILENCE_S)


def test_waits_grow_to_a_limit_and_begin_anew_once_something_was_heard() -> None:
    following = Following()
    waits = [following.broken(Unreachable("down")).retry_in_s for _ in range(12)]
    assert 0.25 <= waits[0] <= 0.5
    assert all(7.5 <= wait <= 15.0 for wait in waits[-3:])
    following.connected(0.0)
    following.feed(LISTED, 0.0)
    assert following.broken(Unreachable("down")).retry_in_s <= 0.5


@pytest.mark.parametrize("error", [
    Malformed("no collector"), Refused(api.Problem(title="Forbidden", status=403, detail="")),
    Refused(api.Problem(title="Bad Request", status=400, detail="")),
])
def test_what_asking_again_does_not_help_ends_a_watch(error: Malformed | Refused) -> None:
    with pytest.raises(type(error)):
        Following().broken(error)


def test_a_collector_that_is_busy_is_asked_again() -> None:
    full = Refused(api.Problem(title="Service Unavailable", status=503, detail="256 watches are open"))
    assert "256 watches" in Following().broken(full).error


def take(events: Iterator[Event], count: int) -> list[Event]:
    return [next(events) for _ in range(count)]


def test_a_watch_goes_on_where_it_was_after_a_cut(address: str, parts: Dispatching) -> None:
    parts.watches.script += [
        [*LIST, LISTED, told("modified", 6, watched("g1", "leased"))], [told("deleted", 7, watched("g2"))],
    ]
    with Client(address) as fallow:
        found = take(fallow.watch(Where(vendor=("nvidia",))), 6)
    assert [event.kind for event in found] == ["added", "added", "bookmark", "modified", "cut", "deleted"]
    assert isinstance(found[4], Cut)
    assert not found[4].lists_again
    assert parts.watches.resumed == [None, ("b7c1", 6)]


def test_a_watch_that_missed_too_much_lists_again(address: str, parts: Dispatching) -> None:
    parts.watches.script += [[LISTED, told("resync", 9)], LIST]
    with Client(address) as fallow:
        found = take(fallow.watch(), 5)
    assert [event.kind for event in found] == ["bookmark", "resync", "cut", "added", "added"]
    assert isinstance(found[2], Cut)
    assert found[2].lists_again
    assert parts.watches.resumed == [None, None]


def test_a_collector_that_is_not_there_is_a_cut(address: str) -> None:
    with Client("http://127.0.0.1:1") as fallow:
        event = next(iter(fallow.watch()))
    assert isinstance(event, Cut)
    assert "cannot be reached" in event.error


def test_a_watch_can_be_awaited(address: str, parts: Dispatching) -> None:
    parts.watches.script += [[*LIST, LISTED], [told("deleted", 7, watched("g2"))]]

    async def work() -> list[str]:
        found = []
        async with AsyncClient(address) as fallow:
            async for event in fallow.watch():
                found.append(event.kind)
                if event.kind == "deleted":
                    break
        return found

    found = asyncio.run(asyncio.wait_for(work(), 60.0))
    assert found == ["added", "added", "bookmark", "cut", "deleted"]


def change(kind: str, revision: int, uuid: str = "", phase: str = "idle", complete: bool | None = None) -> Change:
    return Change(
        kind=kind, epoch="e", revision=revision, as_of="", complete=complete, max_age_ms=None,
        device=watched(uuid, phase) if uuid else None,
    )


def test_a_mirror_is_complete_only_while_the_list_is_whole_and_the_collector_is_heard() -> None:
    mirror = Mirror()
    assert not mirror.sight(0.0).complete
    assert mirror.sight(0.0).age_s == float("inf")
    mirror.apply(change("added", 1, "g1"), 10.0)
    assert not mirror.sight(10.0).complete
    mirror.apply(change("bookmark", 1, complete=True), 10.0)
    sight = mirror.sight(12.5)
    assert (sight.complete, sight.age_s, sight.revision, list(sight.devices)) == (True, 2.5, 1, ["g1"])
    mirror.apply(Cut(error="down", retry_in_s=1.0, lists_again=False), 13.0)
    cut = mirror.sight(14.0)
    assert (cut.complete, cut.age_s, cut.error, list(cut.devices)) == (False, 4.0, "down", ["g1"])
    mirror.apply(change("modified", 2, "g1", "leased"), 15.0)
    assert mirror.sight(15.0).complete
    mirror.apply(change("bookmark", 2, complete=False), 15.0)
    assert not mirror.sight(15.0).complete


def test_a_mirror_forgets_what_a_new_list_will_tell() -> None:
    for event in (change("resync", 9), Cut(error="restarted", retry_in_s=1.0, lists_again=True)):
        mirror = Mirror()
        mirror.apply(change("added", 1, "g1"), 10.0)
        mirror.apply(change("bookmark", 1, complete=True), 10.0)
        mirror.apply(event, 11.0)
        assert (mirror.sight(11.0).devices, mirror.sight(11.0).complete) == ({}, False)


def test_what_is_deleted_is_gone_also_when_it_is_told_twice() -> None:
    mirror = Mirror()
    mirror.apply(change("added", 1, "g1"), 10.0)
    for _ in range(2):
        mirror.apply(change("deleted", 2, "g1"), 11.0)
    assert mirror.sight(11.0).devices == {}


def test_what_is_seen_of_a_mirror_does_not_change_behind_ones_back() -> None:
    mirror = Mirror()
    mirror.apply(change("added", 1, "g1"), 10.0)
    before = mirror.sight(10.0)
    mirror.apply(change("added", 2, "g2"), 11.0)
    assert list(before.devices) == ["g1"]


def test_a_thread_keeps_a_mirror_over_cuts(address: str, parts: Dispatching) -> None:
    parts.watches.script += [[*LIST, LISTED], [told("modified", 7, watched("g2", "leased"))]]
    with Client(address) as fallow, fallow.mirror() as mirror:
        until(lambda: mirror.sight().revision == 7, "the change after the cut")
        sight = mirror.sight()
    assert {uuid: one.phase for uuid, one in sight.devices.items()} == {"g1": "idle", "g2": "leased"}
    assert sight.complete


def test_a_mirror_that_is_refused_says_why(parts: Dispatching) -> None:
    with serving(parts.app) as url, Client(url) as fallow, fallow.mirror(Where(phase=("idel",))) as mirror:
        until(lambda: mirror.sight().error, "the refusal")
        assert "did you mean idle" in mirror.sight().error
        assert not mirror.sight().complete


def test_a_task_keeps_a_mirror(address: str, parts: Dispatching) -> None:
    parts.watches.script += [[*LIST, LISTED]]

    async def work() -> None:
        async with AsyncClient(address) as fallow, fallow.mirror() as mirror:
            await asyncio.to_thread(until, lambda: mirror.sight().complete, "the whole list")
            assert sorted(mirror.sight().devices) == ["g1", "g2"]

    asyncio.run(asyncio.wait_for(work(), 60.0))
