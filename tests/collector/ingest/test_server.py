"""The real gRPC server over loopback, with the real stub."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fallow_collector.certificate import Pems, validity_of
from fallow_collector.certs.authority import Granted
from fallow_collector.ingest.received import Received
from fallow_collector.ingest.server import SERVICE, CannotListen, Server, credentials
from fallow_collector.ingest.session import Terms
from fallow_collector.ingest.streams import Streams
from fallow_collector.pace import BURST
from fallow_collector.series import Source, Span
from fallow_proto.v1 import identity_pb2
from fallow_proto.v1 import identity_pb2_grpc as identity_stubs
from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_proto.v1 import telemetry_pb2_grpc as stubs
from tests.collector.ingest.builders import EPOCH, NODE, fence, fenced, hello, layout, numbers, report, reports
from tests.collector.ingest.certificates import Authority, Pair

DEADLINE_S = 60.0
Call = grpc.aio.StreamStreamCall[pb.FromAgent, pb.ToAgent]


class Behind:
    """The stages behind ingest, as lists of what they were given."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.judged: list[int] = []
        self.stored: list[Span] = []
        self.fences: list[pb.DeviceFence] = []

    def hello(self, hello: pb.Hello, receipt: float, wall: float) -> tuple[str, int]:
        self.there.add(hello.node)
        return "", 0

    def gone(self, node: str, receipt: float) -> None:
        self.there.discard(node)

    def take(self, source: Source, judge: Sequence[int], store: Sequence[int], numbers: Sequence[int]) -> None:
        self.judged += judge
        self.stored += [Span(source, number, number) for number in numbers]

    def record(self, source: Source, events: Sequence[pb.Event]) -> None:
        pass

    def greeted(self, hello: pb.Hello, receipt: float) -> None:
        pass

    def fenced(self, node: str, fences: Sequence[pb.DeviceFence], receipt: float) -> None:
        self.fences += fences

    def ledger(self, node: str, ledger: pb.Ledger, receipt: float) -> None:
        pass

    def processes(self, node: str, told: pb.Processes) -> None:
        pass

    def shed(self, node: str, reports: int) -> None:
        pass


def bind(node: str, layout: pb.Layout) -> Callable[[str, pb.Report, float], int]:
    def decode(epoch: str, report: pb.Report, receipt: float) -> int:
        if report.seq == 13:
            raise ZeroDivisionError("a fault of our own")
        return report.seq

    return decode


class Served:
    """A running server and what is behind it."""

    def __init__(self) -> None:
        self.behind = Behind()
        self.streams: Streams[int] = Streams(Received(), self.behind, bind, Terms("test", 120.0))
        self.server = Server(self.streams)
        self.port = 0

    @asynccontextmanager
    async def channel(self, **tls: bytes) -> AsyncIterator[grpc.aio.Channel]:
        address = f"127.0.0.1:{self.port}"
        if tls:
            secret = grpc.ssl_channel_credentials(tls["ca"], tls.get("key"), tls.get("certificate"))
            options = [("grpc.ssl_target_name_override", "collector")]
            channel = grpc.aio.secure_channel(address, secret, options=options)
        else:
            channel = grpc.aio.insecure_channel(address)
        async with channel:
            yield channel


def serving(test: Callable[[Served], Coroutine[Any, Any, None]], secret: grpc.ServerCredentials | None = None) -> None:
    async def run() -> None:
        served = Served()
        served.port = await served.server.start("127.0.0.1:0", secret)
        try:
            async with asyncio.timeout(DEADLINE_S):
                await test(served)
        finally:
            await served.server.stop(0)

    asyncio.run(run())


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  # the deadline is serving()'s
        await asyncio.sleep(0.01)


def call(channel: grpc.aio.Channel) -> Call:
    return stubs.TelemetryStub(channel).Stream()


async def say(call: Call, *messages: pb.FromAgent) -> None:
    for message in messages:
        await call.write(message)


async def hear(call: Call) -> pb.ToAgent:
    message = await call.read()
    assert isinstance(message, pb.ToAgent), f"the stream ended: {await call.code()} {await call.details()}"
    return message


async def end(call: Call) -> tuple[grpc.StatusCode, str]:
    code = await call.code()
    return code, await call.details()


def test_a_fence_travels_to_the_node_and_its_answer_back() -> None:
    async def test(served: Served) -> None:
        async with served.channel() as channel:
            stream = call(channel)
            await say(stream, hello())
            assert (await hear(stream)).HasField("welcome")
            assert served.streams.send_fences(NODE, [fence()])
            assert list((await hear(stream)).fence.fences) == [fence()]
            await say(stream, fenced(fence(token=9)))
            await until(lambda: served.behind.fences == [fence(token=9)])
        assert not served.streams.send_fences("node-2", [fence()])

    serving(test)


def test_a_report_travels_to_the_stages_and_its_acknowledgement_back() -> None:
    async def test(served: Served) -> None:
        async with served.channel() as channel:
            stream = call(channel)
            await say(stream, hello(), layout())
            assert (await hear(stream)).welcome.evidence_s == 120.0
            now = report(1)
            now.time_ms = 0  # far outside the window: judged, and refused for the store
            await say(stream, reports(now), reports(2))
            await until(lambda: served.behind.judged == [1, 2])
            served.streams.pulse()
            assert (await hear(stream)).refuse.reason.startswith("time: ")
            served.streams.committed([Span(Source(NODE, EPOCH), 2, 2)])
            served.streams.pulse()
            assert numbers((await hear(stream)).ack.stored) == {EPOCH: [(2, 2)]}
            await stream.done_writing()
            assert (await end(stream))[0] is grpc.StatusCode.OK
            assert served.behind.there == set()

    serving(test)


def test_the_newer_of_two_streams_of_a_node_wins() -> None:
    async def test(served: Served) -> None:
        async with served.channel() as first, served.channel() as second:
            older, newer = call(first), call(second)
            await say(older, hello())
            await hear(older)
            await say(newer, hello())
            await hear(newer)
            assert await end(older) == (grpc.StatusCode.ABORTED, f"a newer stream of node {NODE} took over")
            assert len(served.streams) == 1
            assert served.behind.there == {NODE}
            assert served.streams.superseded == 1

    serving(test)


@pytest.mark.parametrize(("message", "reason"), [
    (b"\xff\xff\xff\xff", "a message of 4 bytes is no fallow.v1.FromAgent"),
    (b"\x0a\x05\x22\x03\xff\xfe\xfd", "a message of 7 bytes is no fallow.v1.FromAgent"),  # a node that is not UTF-8
    (b"", "the first message was empty, expected Hello"),
])
def test_a_malformed_message_ends_its_stream_with_a_reason_and_no_other(message: bytes, reason: str) -> None:
    async def test(served: Served) -> None:
        async with served.channel() as channel:
            good = call(channel)
            await say(good, hello(), layout())
            await hear(good)
            bad: Any = channel.stream_stream(f"/{SERVICE}/Stream")()
            await bad.write(message)
            assert await end(bad) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
            await say(good, reports(1))
            await until(lambda: served.behind.judged == [1])

    serving(test)


def test_an_oversized_message_ends_its_stream_and_no_other() -> None:
    async def test(served: Served) -> None:
        async with served.channel() as channel:
            good, bad = call(channel), call(channel)
            await say(good, hello(), layout())
            await hear(good)
            await say(bad, hello("node-2"))
            await hear(bad)
            await say(bad, reports(*range(1, 20_000), node="node-2"))
            assert (await end(bad))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
            await say(good, reports(1))
            await until(lambda: served.behind.judged == [1])
            await until(lambda: served.behind.there == {NODE})

    serving(test)


def test_a_fault_of_our_own_ends_one_stream_and_is_told_as_ours(caplog: pytest.LogCaptureFixture) -> None:
    async def test(served: Served) -> None:
        async with served.channel() as channel:
            stream = call(channel)
            await say(stream, hello(), layout(), reports(13))
            await hear(stream)
            code, details = await end(stream)
            assert code is grpc.StatusCode.INTERNAL
            assert details == "the collector could not handle a message; its log says why"
            again = call(channel)
            await say(again, hello())
            await hear(again)

    serving(test)
    assert "BUG: a message could not be handled node=node-1" in caplog.text


def test_an_agent_that_vanishes_is_gone() -> None:
    async def test(served: Served) -> None:
        async with served.channel() as channel:
            stream = call(channel)
            await say(stream, hello())
            await hear(stream)
            assert served.behind.there == {NODE}
            stream.cancel()
            await until(lambda: served.behind.there == set())
            assert len(served.streams) == 0

    serving(test)


def test_an_agent_that_reads_nothing_is_let_go_and_nothing_piles_up_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fallow_collector.ingest.server.WRITE_TIMEOUT_S", 0.5)

    async def test(served: Served) -> None:
        async with served.channel() as channel, served.channel() as another:
            deaf, good = call(channel), call(another)
            await say(good, hello("honest"), layout("honest"))
            await say(deaf, hello())
            await hear(good)
            await until(lambda: NODE in served.behind.there)
            for _ in range(64):
                served.streams.send(NODE, pb.ToAgent(refuse=pb.Refuse(reason="r" * (1 << 20))))
            await until(lambda: served.behind.there == {"honest"})
            assert not served.streams.send(NODE, pb.ToAgent())
            await say(good, reports(77, node="honest"))
            await until(lambda: 77 in served.behind.judged)

    serving(test)


def test_the_health_service_follows_what_the_store_can_do() -> None:
    async def test(served: Served) -> None:
        async with served.channel() as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            for can_commit, status in ((True, "SERVING"), (False, "NOT_SERVING"), (True, "SERVING")):
                await served.server.serving(can_commit)
                for service in ("", SERVICE):
                    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
                    assert health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) == status

    serving(test)


def test_a_port_that_is_taken_is_told_with_what_to_check() -> None:
    async def test(served: Served) -> None:
        with pytest.raises(CannotListen, match="cannot be bound: is another collector running"):
            await Served().server.start(f"127.0.0.1:{served.port}", None)

    serving(test)


AUTHORITY = Authority()
COLLECTOR = AUTHORITY.issue("collector", names=("collector",))


def mutual() -> grpc.ServerCredentials:
    return credentials(Pems(COLLECTOR.certificate, COLLECTOR.key, AUTHORITY.pem))


@pytest.mark.parametrize("certificate", [
    AUTHORITY.issue(NODE),
    AUTHORITY.issue("", names=(NODE,)),
    AUTHORITY.issue("", uris=(f"spiffe://site/agent/{NODE}",)),
])
def test_an_agent_is_let_in_by_a_certificate_that_names_its_node(certificate: Pair) -> None:
    async def test(served: Served) -> None:
        async with served.channel(ca=AUTHORITY.pem, **certificate._asdict()) as channel:
            stream = call(channel)
            await say(stream, hello())
            await hear(stream)
            assert served.streams.certificates == {NODE: validity_of(certificate.certificate)}

    serving(test, mutual())


def test_an_agent_that_says_it_is_another_node_is_refused() -> None:
    async def test(served: Served) -> None:
        async with served.channel(ca=AUTHORITY.pem, **AUTHORITY.issue("node-2")._asdict()) as channel:
            stream = call(channel)
            await say(stream, hello())
            code, details = await end(stream)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert details == "the certificate is of node-2, expected one that names the node node-1"
            assert served.behind.there == set()

    serving(test, mutual())


@pytest.mark.parametrize("presented", [
    {},
    Authority("another authority").issue(NODE)._asdict(),
    AUTHORITY.issue(NODE, valid=timedelta(hours=-1))._asdict(),
    AUTHORITY.issue(NODE, begins=timedelta(minutes=30))._asdict(),
    AUTHORITY.issue(NODE, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))._asdict(),
])
def test_no_wrong_or_expired_certificate_gets_in(presented: dict[str, bytes]) -> None:
    async def test(served: Served) -> None:
        async with served.channel(ca=AUTHORITY.pem, **presented) as channel:
            stream = call(channel)
            assert await stream.code() is grpc.StatusCode.UNAVAILABLE
            assert served.behind.there == set()

    serving(test, mutual())


def test_a_certificate_that_asks_for_new_ones_without_end_is_told_to_wait_and_no_other() -> None:
    async def renewed(channel: grpc.aio.Channel) -> grpc.StatusCode:
        asked = identity_stubs.IdentityStub(channel).Renew(identity_pb2.RenewRequest(csr=b"request"))
        with suppress(grpc.aio.AioRpcError):
            await asked
        return await asked.code()

    async def test(served: Served) -> None:
        served.server.renewal.renew = lambda shown, request: Granted("certificate", "ca")
        one, other = (AUTHORITY.issue(name)._asdict() for name in ("node-1", "node-2"))
        async with served.channel(ca=AUTHORITY.pem, **one) as channel:
            codes = [await renewed(channel) for _ in range(int(BURST) + 2)]
        assert codes[0] is grpc.StatusCode.OK
        assert codes[-1] is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with served.channel(ca=AUTHORITY.pem, **other) as channel:
            assert await renewed(channel) is grpc.StatusCode.OK

    serving(test, mutual())


def test_an_authority_is_no_agent_though_it_bears_a_nodes_name() -> None:
    async def test(served: Served) -> None:
        presented = AUTHORITY.issue(NODE, is_authority=True)._asdict()
        async with served.channel(ca=AUTHORITY.pem, **presented) as channel:
            assert await end(call(channel)) == (
                grpc.StatusCode.UNAUTHENTICATED, "the certificate is an authority's, expected a leaf"
            )
            assert served.behind.there == set()

    serving(test, mutual())


def test_plain_text_does_not_get_in_where_tls_is_spoken() -> None:
    async def test(served: Served) -> None:
        async with served.channel() as channel:
            stream = call(channel)
            assert await stream.code() is grpc.StatusCode.UNAVAILABLE

    serving(test, mutual())


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_peer_that_says_nothing_is_let_go_within_seconds(encrypted: bool) -> None:
    async def test(served: Served) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        while await reader.read(4096):  # without TLS the server's own settings come first
            pass
        writer.close()

    serving(test, mutual() if encrypted else None)
