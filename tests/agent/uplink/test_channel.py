"""The channel: real gRPC over loopback, with and without TLS, and every way in which it ends."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from fallow_agent.config import Settings, Tls
from fallow_agent.uplink import words as w
from fallow_agent.uplink.certificate import complaint
from fallow_agent.uplink.channel import Channel
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.certificates import DAY, Authority, Pair
from tests.agent.collector import Collector

HELLO = pb.FromAgent(hello=pb.Hello(wire=1, node="node1", site="s", epoch="a"))


def told(settings: Settings, until: Callable[[list[w.Event]], bool]) -> list[w.Event]:
    """What a channel tells when it dials once and says hello, until a condition holds."""

    async def run() -> list[w.Event]:
        events: list[w.Event] = []
        done = asyncio.Event()

        def tell(event: w.Event) -> None:
            events.append(event)
            if isinstance(event, w.Dialled):
                channel.send(HELLO)
            if until(events):
                done.set()

        channel = Channel(settings, tell)
        channel.dial(0.0)
        async with asyncio.timeout(60.0):
            await done.wait()
        await channel.close()
        return events

    return asyncio.run(run())


def lost(events: list[w.Event]) -> bool:
    return any(isinstance(event, w.Lost) for event in events)


def received(events: list[w.Event]) -> bool:
    return any(isinstance(event, w.Received) for event in events)


def tls_settings(address: str, authority: Authority, pair: Pair) -> Settings:
    return Settings(collector=address, tls=Tls(ca=str(authority.ca), cert=str(pair.cert), key=str(pair.key)))


def test_what_is_sent_is_heard_and_the_answer_is_told() -> None:
    with Collector() as collector:
        events = told(Settings(collector=collector.address), received)
        assert collector.heard == [HELLO]
    assert [type(event) for event in events] == [w.Dialled, w.Written, w.Received]


def test_a_collector_that_is_not_there_is_told_as_such() -> None:
    with Collector() as collector:
        address = collector.address
    loss = told(Settings(collector=address), lost)[-1]
    assert isinstance(loss, w.Lost)
    assert address in loss.reason
    assert "UNAVAILABLE" in loss.reason
    assert not loss.rejected


def test_a_collector_that_says_no_is_told_with_its_reason() -> None:
    with Collector(refuses=(grpc.StatusCode.PERMISSION_DENIED, "this certificate is of node2")) as collector:
        loss = told(Settings(collector=collector.address), lost)[-1]
    assert loss == w.Lost(f"{collector.address}: PERMISSION_DENIED: this certificate is of node2", rejected=True)


def test_a_collector_that_stops_ends_the_stream() -> None:
    async def run() -> w.Event:
        events: asyncio.Queue[w.Event] = asyncio.Queue()
        with Collector() as collector:
            channel = Channel(Settings(collector=collector.address), events.put_nowait)
            channel.dial(0.0)
            await events.get()
            channel.send(HELLO)
            while not isinstance(await events.get(), w.Received):
                pass
            await asyncio.to_thread(collector.stop)
            async with asyncio.timeout(60.0):
                loss = await events.get()
        await channel.close()
        return loss

    assert isinstance(asyncio.run(run()), w.Lost)


def test_hanging_up_ends_the_stream_for_the_reason_given() -> None:
    async def run() -> w.Event:
        events: asyncio.Queue[w.Event] = asyncio.Queue()
        with Collector() as collector:
            channel = Channel(Settings(collector=collector.address), events.put_nowait)
            channel.dial(0.0)
            await events.get()
            channel.send(HELLO)
            while not isinstance(await events.get(), w.Received):
                pass
            channel.hang_up("nonsense")
            async with asyncio.timeout(60.0):
                loss = await events.get()
            await channel.close()
        return loss

    assert asyncio.run(run()) == w.Lost("nonsense", rejected=True)


def test_a_collector_that_does_not_read_lets_the_wire_take_only_so_much() -> None:
    reads = threading.Event()
    big = pb.FromAgent(hello=pb.Hello(node="x" * 200_000))

    async def run() -> int:
        written = 0
        dialled = asyncio.Event()

        def tell(event: w.Event) -> None:
            nonlocal written
            written += isinstance(event, w.Written)
            if isinstance(event, w.Dialled):
                dialled.set()

        with Collector(reads=reads) as collector:
            channel = Channel(Settings(collector=collector.address), tell)
            channel.dial(0.0)
            await dialled.wait()
            for _ in range(400):
                channel.send(big)
            before = -1
            while before != written:
                before = written
                await asyncio.sleep(0.3)
            reads.set()
            await channel.close()
        return before

    assert asyncio.run(run()) < 200, "80 MB were to be sent"


class Babbler(grpc.GenericRpcHandler):
    """Answers every call with packets of its own and then stays on the line."""

    def __init__(self, *packets: bytes) -> None:
        self._packets = packets
        self.done = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(1))
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            yield from self._packets
            self.done.wait(20.0)

        return grpc.stream_stream_rpc_method_handler(answer)

    def stop(self) -> None:
        self.done.set()
        self._server.stop(grace=0).wait()


WELCOME = pb.ToAgent(welcome=pb.Welcome(wire=1)).SerializeToString()


@pytest.mark.parametrize("before", [(), (WELCOME,)])
def test_a_collector_that_says_what_is_no_message_is_left(
    before: tuple[bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    babbler = Babbler(*before, b"\xff\xff\xff")
    try:
        events = told(Settings(collector=babbler.address), lost)
    finally:
        babbler.stop()
    assert len([event for event in events if isinstance(event, w.Received)]) == len(before)
    loss = events[-1]
    assert isinstance(loss, w.Lost)
    assert f"{babbler.address} sent what is no message of Fallow's" in loss.reason
    assert loss.rejected
    # gRPC's poller may still tell asyncio of a loop that an earlier test has closed.
    assert [record.getMessage() for record in caplog.records if record.name != "asyncio"] == [], "no stack trace"


def test_a_collector_that_talks_and_never_says_welcome_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fallow_agent.uplink.channel.WELCOME_S", 0.2)
    babbler = Babbler(pb.ToAgent().SerializeToString(), pb.ToAgent(ack=pb.Ack()).SerializeToString())
    try:
        events = told(Settings(collector=babbler.address), lost)
    finally:
        babbler.stop()
    assert len([event for event in events if isinstance(event, w.Received)]) == 2
    assert isinstance(events[-1], w.Lost)
    assert "no Welcome" in events[-1].reason


def test_with_tls_on_both_sides_it_speaks(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("node1")
    with Collector(tls=(authority.sign("collector"), authority)) as collector:
        events = told(tls_settings(collector.address, authority, pair), received)
    assert received(events)
    assert complaint(Tls(ca=str(authority.ca), cert=str(pair.cert), key=str(pair.key))) == ""


def test_a_collector_of_another_authority_is_not_spoken_to(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "another authority")
    with Collector(tls=(theirs.sign("collector"), theirs)) as collector:
        loss = told(tls_settings(collector.address, ours, ours.sign("node1")), lost)[-1]
        assert collector.heard == []
    assert isinstance(loss, w.Lost)
    assert "UNAVAILABLE" in loss.reason


@pytest.mark.parametrize(
    ("starts_in", "ends_in", "complaint"),
    [(-10 * DAY, -DAY, "expired"), (DAY, 10 * DAY, "not yet valid")],
)
def test_its_own_certificate_out_of_its_time_is_blamed_before_the_network(
    tmp_path: Path, starts_in: timedelta, ends_in: timedelta, complaint: str
) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("node1", starts_in=starts_in, ends_in=ends_in)
    with Collector(tls=(authority.sign("collector"), authority)) as collector:
        loss = told(tls_settings(collector.address, authority, pair), lost)[-1]
    assert isinstance(loss, w.Lost)
    assert complaint in loss.reason
    assert str(pair.cert) in loss.reason


def test_a_certificate_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    missing = Pair(tmp_path / "gone.pem", tmp_path / "gone.key")
    loss = told(tls_settings("127.0.0.1:1", authority, missing), lost)[-1]
    assert isinstance(loss, w.Lost)
    assert "gone" in loss.reason


def test_a_key_of_another_certificate_is_found_out(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = Tls(
        ca=str(authority.ca), cert=str(authority.sign("node1").cert), key=str(authority.sign("node2").key)
    )
    assert "cannot be used together" in complaint(tls)
