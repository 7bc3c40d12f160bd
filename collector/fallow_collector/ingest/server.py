"""The gRPC server that agents stream to: a thin shell, all decisions are Streams' and Session's.

Messages are taken as bytes and parsed in Streams, so that a malformed one ends its stream with INVALID_ARGUMENT and a
reason; grpc.aio's own deserializer would end it with a stack trace in the log.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from fallow_collector.certificate import Pems, leaf_fault, validity_of
from fallow_collector.ingest.identity import identity_of
from fallow_collector.ingest.limits import HELLO_S
from fallow_collector.ingest.renewal import Renewal
from fallow_collector.ingest.session import Close, Fault
from fallow_collector.ingest.streams import Stream, Streams
from fallow_proto.failpoint import Point, reached
from fallow_proto.v1 import telemetry_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["Telemetry"].full_name

WRITE_TIMEOUT_S = 30.0
"""A peer that does not read for so long is cut off: what it should hear would pile up here."""

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 1 << 20),  # agents' batches are ≤ 256 KiB
    ("grpc.max_metadata_size", 8192),
    ("grpc.max_concurrent_streams", 128),  # an agent has one; simulators and proxies carry many nodes on a connection
    ("grpc.max_connection_age_ms", 3_600_000),  # a connection outlives its certificate, so none lives for ever
    ("grpc.max_connection_age_grace_ms", 30_000),
    ("grpc.keepalive_time_ms", 6_000),  # an agent that is cut off or hangs is noticed within 9 s
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 3_000),  # keepalive_timeout alone takes 64 s to notice a stopped process
    ("grpc.http2.min_ping_interval_without_data_ms", 3_000),  # agents ping every 6 s; the default cuts them off
    # Its pings wait behind what a slow link still carries, and ping_timeout would cut just those agents off.
    ("grpc.http2.bdp_probe", 0),
    # As long as an agent waits: where thousands dial at once, a shorter one cuts off many that have only to wait, and
    # their handshakes are done twice. The default lets a silent peer hold a socket for two minutes.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.server.max_pending_requests", 20_000),  # a whole fleet that comes back; by default most of it is turned away
    ("grpc.server.max_pending_requests_hard_limit", 40_000),
    ("grpc.so_reuseport", 0),  # a second collector on the port is a mistake, not a load balancer
)

Arrival = TypeVar("Arrival")
Context = grpc.aio.ServicerContext[bytes, pb.ToAgent]

log = logging.getLogger(__name__)


class CannotListen(Exception):
    """The address cannot be bound; the message says which and what to check."""


class Server:
    """grpc.aio server with Telemetry, the renewal of certificates and the standard health service."""

    def __init__(self, streams: Streams[Any]) -> None:
        self._streams = streams
        self.renewal = Renewal()
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=OPTIONS)
        self._server.add_generic_rpc_handlers((
            grpc.method_handlers_generic_handler(
                SERVICE,
                {"Stream": grpc.stream_stream_rpc_method_handler(
                    self._stream, response_serializer=pb.ToAgent.SerializeToString,
                )},
            ),
            self.renewal.handler(),
        ))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self, listen: str, credentials: grpc.ServerCredentials | None) -> int:
        """Listen; returns the port. Raises CannotListen."""
        try:
            if credentials is None:
                port = self._server.add_insecure_port(listen)
            else:
                port = self._server.add_secure_port(listen, credentials)
        except RuntimeError as error:
            raise CannotListen(
                f"[grpc] listen = {listen!r} cannot be bound: is another collector running, is the address of this "
                f"host, and is the certificate one of the key? ({error})"
            ) from error
        await self.serving(True)
        await self._server.start()
        return port

    async def serving(self, can_commit: bool) -> None:
        """What the health service says: NOT_SERVING while the store cannot commit."""
        status = health_pb2.HealthCheckResponse
        for service in ("", SERVICE):
            await self._health.set(service, status.SERVING if can_commit else status.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)

    async def _stream(self, _requests: object, context: Context) -> None:
        """One agent's stream: this coroutine sends, a task beside it reads."""
        news = asyncio.Event()
        shown = b"".join(context.auth_context().get("x509_pem_cert", ()))
        if shown and (fault := leaf_fault(shown)):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, fault)
        stream = self._streams.open(
            identity_of(shown) if shown else None, news.set, validity_of(shown) if shown else None,
            context.peer().rpartition(":")[0], time.monotonic(),
        )
        impatience = asyncio.get_running_loop().call_later(
            HELLO_S, lambda: self._streams.expect_hello(stream, time.monotonic())
        )
        reader = asyncio.create_task(self._read(context, stream))
        try:
            close = await self._send(context, stream, news)
        finally:
            impatience.cancel()
            reader.cancel()
            self._streams.closed(stream, time.monotonic())
            with contextlib.suppress(asyncio.CancelledError):
                await reader
        if close.reason:
            await context.abort(grpc.StatusCode[close.fault], close.reason)  # for ever, if the peer reads nothing

    async def _read(self, context: Context, stream: Stream[Any]) -> None:
        received = self._streams.received
        try:
            # what EOF is of is not told by the stubs of grpcio
            while (data := await context.read()) is not grpc.aio.EOF:  # type: ignore[comparison-overlap]
                received(stream, data, time.monotonic(), time.time())
            stream.close(Close(Fault.UNAVAILABLE, ""))
        except grpc.aio.BaseError:  # the peer is gone, or sent more than is allowed; gRPC has told it
            stream.close(Close(Fault.UNAVAILABLE, ""))
        except Exception:  # one stream's fault must not be another's
            log.exception("BUG: a message could not be handled node=%s", stream.session.node)
            stream.close(Close(Fault.INTERNAL, "the collector could not handle a message; its log says why"))

    async def _send(self, context: Context, stream: Stream[Any], news: asyncio.Event) -> Close:
        """Until the stream is to be closed; says why."""
        while True:
            await news.wait()
            news.clear()
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    for message in stream.outgoing():
                        reached(Point.INGEST_BEFORE_SEND)
                        await context.write(message)
                        reached(Point.INGEST_AFTER_SEND)
            except TimeoutError:
                stream.close(Close(Fault.RESOURCE_EXHAUSTED, f"nothing was read for {WRITE_TIMEOUT_S:.0f} s"))
            if stream.closed is not None:
                return stream.closed


def credentials(pems: Pems, newer: Callable[[], Pems | None] = lambda: None) -> grpc.ServerCredentials:
    """TLS; with client_ca, only peers that show a certificate of it may connect. newer: asked at each connection, in a
    thread of gRPC's; what it says holds from then on."""

    def fetch() -> grpc.ServerCertificateConfiguration:
        found = newer()
        return None if found is None else _configuration(found)  # type: ignore[return-value]  # None: no change

    return grpc.dynamic_ssl_server_credentials(
        _configuration(pems), fetch, require_client_authentication=pems.client_ca is not None
    )


def _configuration(pems: Pems) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], root_certificates=pems.client_ca)
