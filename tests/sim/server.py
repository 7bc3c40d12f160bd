"""A collector's gRPC face, as small as the protocol allows: it remembers what came and says what it is told to say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio

from fallow_proto.codec import encode_ranges
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_proto.v1.telemetry_pb2_grpc import TelemetryServicer, add_TelemetryServicer_to_server


class Server(TelemetryServicer):
    def __init__(self, *, acknowledges: bool = True) -> None:
        self.acknowledges = acknowledges
        self.hellos: list[pb.Hello] = []
        self.layouts: dict[bytes, pb.Layout] = {}
        self.batches: list[pb.Reports] = []
        self.judged: dict[str, int] = {}  # epoch -> seq
        self.stored: dict[str, RangeSet] = {}
        self.order: list[pb.ToAgent] = []  # to say to the next report's sender
        self.fenced: list[pb.Fenced] = []
        self.shown: dict[str, bytes] = {}  # node -> the certificate that its connection showed, PEM

    async def Stream(self, request_iterator, context):  # type: ignore[no-untyped-def]
        epoch = ""
        async for message in request_iterator:
            match message.WhichOneof("kind"):
                case "hello":
                    self.hellos.append(message.hello)
                    self.shown[message.hello.node] = b"".join(context.auth_context().get("x509_pem_cert", ()))
                    epoch = message.hello.epoch
                    yield pb.ToAgent(welcome=pb.Welcome(
                        wire=1, evidence_s=2.0, judged_epoch=epoch, judged_seq=self.judged.get(epoch, 0),
                        stored=encode_ranges({epoch: self.stored.get(epoch, RangeSet())}),
                    ))
                case "fenced":
                    self.fenced.append(message.fenced)
                case "layout":
                    self.layouts[message.layout.hash] = message.layout
                case "reports":
                    if said := self._take(message.reports):
                        yield said
                    while self.order:
                        yield self.order.pop()

    def _take(self, batch: pb.Reports) -> pb.ToAgent | None:
        self.batches.append(batch)
        lo, hi = batch.reports[0].seq, batch.reports[-1].seq
        if batch.lane == pb.LANE_JUDGED:
            self.judged[batch.epoch] = hi
        if not self.acknowledges:
            return None
        self.stored.setdefault(batch.epoch, RangeSet()).add(lo, hi)
        return pb.ToAgent(ack=pb.Ack(stored=encode_ranges({batch.epoch: [(lo, hi)]})))


@asynccontextmanager
async def serving(
    server: Server, port: int = 0, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[int]:
    """Serve on a port of loopback, 0 for a free one; yields it. Leaving cuts every stream."""
    grpc_server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_TelemetryServicer_to_server(server, grpc_server)
    address = f"127.0.0.1:{port}"
    if credentials is None:
        bound = grpc_server.add_insecure_port(address)
    else:
        bound = grpc_server.add_secure_port(address, credentials)
    await grpc_server.start()
    try:
        yield bound
    finally:
        await grpc_server.stop(None)


async def until(condition, deadline_s: float = 60.0) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110  # of things that tell nobody
            await asyncio.sleep(0.01)
