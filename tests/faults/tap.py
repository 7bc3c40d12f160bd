"""A relay between agents and the collector that notes what passes: which reading each report carries, and what the
collector acknowledged. So the audit knows what was acknowledged from the wire, not from either program."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc

from fallow_proto.codec import decode_ranges
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.faults.audit import of_report

SERVICE = pb.DESCRIPTOR.services_by_name["Telemetry"].full_name
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.so_reuseport", 0))
STREAMS = 64


class Passed(NamedTuple):
    """A message of reports. at: monotonic seconds. size: its bytes."""

    at: float
    node: str
    lane: int
    size: int


class Tap:
    """boards: the device of each node whose readings are noted."""

    def __init__(self, to: str, boards: dict[str, str]) -> None:
        self._to = to
        self._boards = boards
        self._lock = Lock()
        self._values: dict[tuple[str, int], list[int]] = {}  # by epoch and seq
        self._node_of: dict[str, str] = {}  # by epoch
        self.acknowledged: dict[str, set[int]] = {node: set() for node in boards}
        """Readings of each node that were acknowledged, as values of the energy counter."""
        self.passed: list[Passed] = []
        self.streams = 0
        self.said: list[bytes] | None = None
        """All that agents say from when a test sets it to a list, as it was on the wire."""
        method: Any = grpc.stream_stream_rpc_method_handler(self._stream)  # of bytes: nothing is parsed on the way
        handlers = [grpc.method_handlers_generic_handler(SERVICE, {"Stream": method})]
        self._server = grpc.server(ThreadPoolExecutor(STREAMS), handlers, options=OPTIONS)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()

    def _stream(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self.streams += 1
        with grpc.insecure_channel(self._to, OPTIONS) as channel:
            connect: Any = channel.stream_stream(f"/{SERVICE}/Stream")
            call = connect(self._heard(requests))
            context.add_callback(call.cancel)
            try:
                for packet in call:
                    self._told(pb.ToAgent.FromString(packet))
                    yield packet
            except grpc.RpcError:
                context.abort(call.code(), call.details())

    def _heard(self, requests: Iterator[bytes]) -> Iterator[bytes]:
        node = ""
        layouts: dict[bytes, pb.Layout] = {}
        while packet := self._next(requests):
            message = pb.FromAgent.FromString(packet)
            match message.WhichOneof("kind"):
                case "hello":
                    node = message.hello.node
                case "layout":
                    layouts[message.layout.hash] = message.layout
                case "reports":
                    self._note(node, layouts[message.reports.layout], message.reports, len(packet))
            if self.said is not None:
                self.said.append(packet)
            yield packet

    def _next(self, requests: Iterator[bytes]) -> bytes | None:
        try:
            return next(requests, None)
        except grpc.RpcError:  # the agent is gone
            return None

    def _note(self, node: str, layout: pb.Layout, reports: pb.Reports, size: int) -> None:
        with self._lock:
            self._node_of[reports.epoch] = node
            for report in reports.reports:
                self._values[reports.epoch, report.seq] = of_report(layout, report, self._boards[node])
            self.passed.append(Passed(monotonic(), node, reports.lane, size))

    def _told(self, message: pb.ToAgent) -> None:
        with self._lock:
            for epoch, ranges in decode_ranges([*message.ack.stored, *message.welcome.stored]).items():
                if node := self._node_of.get(epoch):
                    self.acknowledged[node].update(self._carried(epoch, ranges))

    def _carried(self, epoch: str, ranges: RangeSet) -> Iterator[int]:
        for lo, hi in ranges:
            for seq in range(lo, hi + 1):
                yield from self._values.get((epoch, seq), ())
