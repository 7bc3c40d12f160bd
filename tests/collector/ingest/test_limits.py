"""What one agent may take, and that taking more costs nobody else anything: in the pure parts and over real gRPC."""

import asyncio
import contextlib
from collections.abc import Sequence

import grpc
import pytest

from fallow_collector.ingest.identity import Identity
from fallow_collector.ingest.limits import NODE_LIMITS, Guard, Limit, Pace, What
from fallow_proto.codec import layout_of
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.ingest.builders import NODE, device, event, events, fenced, hello, layout, reports
from tests.collector.ingest.test_server import Call, Served, call, end, hear, say, serving, until

SMALL = {
    What.MESSAGES: Limit(1.0, 8.0), What.BYTES: Limit(10_000.0, 100_000.0),
    What.REPORTS: Limit(1.0, 5.0), What.EVENTS: Limit(1.0, 3.0), What.GREETINGS: Limit(1.0, 4.0),
    What.DEVICES: Limit(1.0, 3.0), What.OTHERS: Limit(1.0, 2.0),
}


LARGEST = 129 * 36 * 4  # bytes of a report: every metric of 16 boards of 7 partitions, and of the host


def named(*uuids: str) -> pb.FromAgent:
    return hello(devices=[device(uuid) for uuid in uuids])


LONG = reports()
LONG.reports.epoch = "e" * 50_000


async def try_to_say(stream: Call, *messages: pb.FromAgent) -> None:
    """The stream may be over before all of it was written."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await say(stream, *messages)


def none_known(uuid: str) -> bool:
    return False


@pytest.mark.parametrize(("message", "many"), [
    (reports(*range(1, 6)), 1), (events(event(1)), 3), (fenced(), 2), (named("a"), 3),
    (pb.FromAgent(layout=layout_of([pb.Block(reader="r", group="fast", interval_s=1.0, devices=["a", "b"])])), 1),
])
def test_a_bucket_empties_and_fills_again_with_time(message: pb.FromAgent, many: int) -> None:
    pace = Pace(100.0, SMALL)
    for _ in range(many):
        assert pace.excess(message, 1, none_known, 100.0) == ""
    assert "expected at most" in pace.excess(message, 1, none_known, 100.0)
    assert "expected at most" in pace.excess(message, 1, none_known, 100.0)
    assert pace.excess(message, 1, none_known, 105.0) == ""


def test_devices_that_are_known_cost_nothing() -> None:
    plenty = Limit(1000.0, 1000.0)
    pace = Pace(0.0, {**SMALL, What.GREETINGS: plenty, What.MESSAGES: plenty})
    for _ in range(100):
        assert pace.excess(named("a", "b"), 1, lambda uuid: True, 0.0) == ""


def test_a_node_that_names_a_new_device_every_minute_is_bounded() -> None:
    pace = Pace(0.0)
    taken = set[str]()
    for minute in range(3 * 24 * 60):
        uuids = {f"{minute}-{n}" for n in range(8)}
        if not pace.excess(named(*uuids), 1, taken.__contains__, minute * 60.0):
            taken |= uuids
    days, limit = 3, NODE_LIMITS[What.DEVICES]
    assert len(taken) <= limit.burst + limit.per_s * 86_400 * days


def test_an_agent_of_ours_stays_below_every_limit() -> None:
    """The fastest that one may be: a quarter of an hour of evidence, then 20 readings a second, and a backlog with
    4,096 under way and a commit a second."""
    pace = Pace(0.0)
    for number in range(1, 15 * 60 * 20):
        assert pace.excess(reports(number), LARGEST, lambda uuid: True, 0.0) == ""
    for second in range(600):
        for message in (reports(*range(1, 21)), *[reports(*range(1, 1025))] * 4, events(*map(event, range(1, 101)))):
            assert pace.excess(message, message.ByteSize(), lambda uuid: True, float(second)) == ""


def test_a_certificate_of_a_hundred_nodes_is_no_node_s() -> None:
    guard = Guard()
    assert guard.opened("ipv4:10.0.0.1", Identity(("n1",), ())) == ""
    assert "bears 100 names" in guard.opened("ipv4:10.0.0.1", Identity(tuple(f"n{n}" for n in range(100)), ()))


@pytest.mark.parametrize(("flood", "reason"), [
    ([reports(*range(n, n + 4)) for n in range(1, 9, 4)], "4 reports, of which 1 more are taken now"),
    ([events(event(n), event(n + 1)) for n in range(1, 5, 2)], "2 events, of which 1 more are taken now"),
    ([layout()] * 4, "1 Hellos and Layouts, of which 0 more are taken now"),
    ([pb.FromAgent(reports=pb.Reports())] * 8, "1 messages, of which 0 more are taken now"),
    ([pb.FromAgent(events=pb.Events())] * 8, "1 messages, of which 0 more are taken now"),
    ([LONG] * 3, "50,028 bytes, of which"),
    ([fenced()] * 3, "1 lists, ledgers and fences, of which 0 more are taken now"),
    ([named("a", "b"), named("c", "d")], "2 devices that were not known, of which 1 more are taken now"),
])
def test_a_flood_costs_its_own_stream_with_a_reason_and_nobody_else_s(
    flood: Sequence[pb.FromAgent], reason: str
) -> None:
    async def test(served: Served) -> None:
        served.streams.guard = Guard(SMALL)
        served.streams.guard.known = lambda uuid: "gpu" in uuid
        async with served.channel() as channel:
            good, bad = call(channel), call(channel)
            await say(good, hello("honest"), layout("honest"))
            await say(bad, hello())
            await hear(good)
            await hear(bad)
            if not flood[0].HasField("layout"):
                await say(bad, layout())
            await try_to_say(bad, *flood)
            with contextlib.suppress(grpc.aio.AioRpcError):
                while await bad.read() is not grpc.aio.EOF:  # the end comes after what was refused of it
                    pass
            code, details = await end(bad)
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert details.startswith(reason)
            assert served.streams.refusals.counts["too_fast"] == 1
            before = len(served.behind.judged)
            await say(good, reports(77, node="honest"))
            await until(lambda: 77 in served.behind.judged[before:])
            assert served.behind.there == {"honest"}

    serving(test)


def test_a_new_stream_does_not_fill_the_bucket_again() -> None:
    async def test(served: Served) -> None:
        served.streams.guard = Guard(SMALL)
        async with served.channel() as channel:
            for _ in range(4):
                stream = call(channel)
                await say(stream, hello())
                await hear(stream)
            last = call(channel)
            await try_to_say(last, hello())
            assert (await end(last))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED

    serving(test)


def test_an_address_has_so_many_streams_and_an_ended_one_makes_room() -> None:
    async def test(served: Served) -> None:
        served.streams.guard = Guard(streams_of_address=2)
        async with served.channel() as channel:
            first, second = call(channel), call(channel)
            for number, stream in enumerate((first, second)):
                await say(stream, hello(f"n{number}"))
                await hear(stream)
            third = call(channel)
            await try_to_say(third, hello("n2"))
            code, details = await end(third)
            assert (code, details.split(":")[0]) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED, "more than 2 streams from ipv4"
            )
            assert served.streams.refusals.counts["too_many_streams"] == 1
            await first.done_writing()
            await end(first)
            await until(lambda: served.streams.guard.streams.total() == 1)
            fourth = call(channel)
            await say(fourth, hello("n3"))
            await hear(fourth)

    serving(test)


def test_a_stream_that_says_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fallow_collector.ingest.server.HELLO_S", 0.2)

    async def test(served: Served) -> None:
        async with served.channel() as channel:
            good, silent = call(channel), call(channel)
            await say(good, hello())
            await hear(good)
            await silent.wait_for_connection()
            assert (await end(silent))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert served.streams.refusals.counts["silent"] == 1
            await asyncio.sleep(0)
            assert served.behind.there == {NODE}

    serving(test)
