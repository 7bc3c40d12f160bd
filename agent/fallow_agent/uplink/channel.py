"""The gRPC around the protocol: performs Dial, Send and HangUp, and tells what happened. It decides nothing.

Messages are taken as bytes and parsed here: grpc.aio's own deserializer turns a malformed one into a stack trace in the
log and a None, behind which the stream's end is waited for that may never come.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import grpc
from google.protobuf.message import DecodeError

from fallow_agent.config import Settings
from fallow_agent.uplink import words as w
from fallow_agent.uplink.certificate import complaint
from fallow_proto.failpoint import Point, reached
from fallow_proto.v1 import telemetry_pb2 as pb

log = logging.getLogger(__name__)

Stream: TypeAlias = "grpc.aio.StreamStreamCall[pb.FromAgent, bytes]"
Connect: TypeAlias = "grpc.aio.StreamStreamMultiCallable[pb.FromAgent, bytes]"

METHOD = f"/{pb.DESCRIPTOR.services_by_name['Telemetry'].full_name}/Stream"

WELCOME_S = 30.0
"""A collector that takes the stream and says no Welcome within this is not one; 10,000 agents are welcomed in 20."""

OPTIONS = (
    # A collector that is cut off is noticed within 9 s: what we send is not acknowledged, or a ping is not answered.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 5_000),  # is also TCP_USER_TIMEOUT
    # Without this a collector that hangs but whose kernel answers is noticed after 60 s only (grpcio 1.85).
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.bdp_probe", 0),  # a ping for each answer, to size a window that a report a second never fills
    ("grpc.min_reconnect_backoff_ms", 10_000),  # is also how long a connection may take
    ("grpc.enable_retries", 0),  # the protocol's own is the one that counts
    ("grpc.use_local_subchannel_pool", 1),  # each dial is a new attempt, whatever became of the last
    ("grpc.enable_http_proxy", 0),  # a proxy in the environment is meant for other things
    ("grpc.max_receive_message_length", 4 << 20),
    ("grpc.max_send_message_length", 1 << 20),
)

REJECTIONS = frozenset({
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,  # another agent of this name is there
})


class Channel:
    """One stream at a time. Call it from the event loop only."""

    def __init__(self, settings: Settings, tell: Callable[[w.Event], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._outbox: asyncio.Queue[pb.FromAgent] = asyncio.Queue()
        self._running: asyncio.Task[None] | None = None
        self._call: Stream | None = None
        self._reason = ""  # why we hung up

    def dial(self, delay_s: float) -> None:
        self._running = asyncio.create_task(self._live(delay_s), name="uplink")

    def send(self, message: pb.FromAgent) -> None:
        """The protocol has few messages under way at a time, so the queue is short."""
        self._outbox.put_nowait(message)

    def hang_up(self, reason: str) -> None:
        self._reason = reason
        if self._call is not None:
            self._call.cancel()

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _live(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        try:
            lost = await self._stream()
        except Exception as error:
            log.exception("BUG: the uplink failed; it dials again")
            lost = w.Lost(f"BUG: {error!r}", rejected=True)
        self._tell(lost)

    async def _stream(self) -> w.Lost:
        self._outbox = asyncio.Queue()
        self._reason = ""
        try:
            channel = self._open()
        except OSError as error:
            return w.Lost(f"[tls] {error.filename} cannot be read: {error.strerror}", rejected=True)
        async with channel:
            connect: Connect = channel.stream_stream(METHOD, pb.FromAgent.SerializeToString, bytes)
            call = self._call = connect()
            writer = asyncio.create_task(self._write(call), name="uplink writer")
            try:
                self._tell(w.Dialled())
                return await self._read(call)
            finally:
                self._call = None
                call.cancel()
                writer.cancel()
                await asyncio.wait([writer])

    def _open(self) -> grpc.aio.Channel:
        """A new channel; files are read again, so that a renewed certificate is used. Raises OSError."""
        settings = self._settings
        if not settings.has_tls:
            return grpc.aio.insecure_channel(settings.collector, OPTIONS)
        ca, key, cert = (Path(path).read_bytes() for path in (settings.tls.ca, settings.tls.key, settings.tls.cert))
        return grpc.aio.secure_channel(settings.collector, grpc.ssl_channel_credentials(ca, key, cert), OPTIONS)

    async def _write(self, call: Stream) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the reading side says why
            while True:
                message = await self._outbox.get()
                reached(Point.UPLINK_BEFORE_SEND)
                await call.write(message)
                reached(Point.UPLINK_AFTER_SEND)
                self._tell(w.Written())

    async def _read(self, call: Stream) -> w.Lost:
        try:
            async with asyncio.timeout(WELCOME_S) as patience:
                while isinstance(packet := await call.read(), bytes):  # else it is grpc.aio.EOF
                    message = pb.ToAgent.FromString(packet)
                    reached(Point.UPLINK_AFTER_RECEIVE)
                    if message.HasField("welcome"):
                        patience.reschedule(None)
                    self._tell(w.Received(message))
            code, details = await call.code(), await call.details()
        except DecodeError as error:
            return w.Lost(
                f"{self._settings.collector} sent what is no message of Fallow's ({error}); is that a Fallow "
                "collector?",
                rejected=True,
            )
        except TimeoutError:
            return w.Lost(
                f"no Welcome from {self._settings.collector} within {WELCOME_S:.0f} s; is that a Fallow collector?",
                rejected=True,
            )
        except grpc.aio.AioRpcError as error:
            code, details = error.code(), error.details() or ""
        except asyncio.CancelledError:
            if not self._reason:
                raise
            return w.Lost(self._reason, rejected=True)
        return w.Lost(self._explain(code, details), rejected=code in REJECTIONS)

    def _explain(self, code: grpc.StatusCode, details: str) -> str:
        told = f"{self._settings.collector}: {code.name}: {details}"
        if self._settings.has_tls and code is grpc.StatusCode.UNAVAILABLE and (own := complaint(self._settings.tls)):
            return f"{own} ({told})"
        return told
