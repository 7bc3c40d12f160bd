"""A small collector on loopback: real gRPC, keeps what it hears, acknowledges if told to."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, Queue
from time import monotonic, sleep

import grpc

from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_proto.v1.telemetry_pb2_grpc import TelemetryServicer, add_TelemetryServicer_to_server
from tests.agent.certificates import Authority, Pair
from tests.ports import free_port


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Until a condition holds, in bounded time."""
    give_up = monotonic() + seconds
    while not condition():
        assert monotonic() < give_up, f"within {seconds:g} s: {what}"
        sleep(0.02)


class Collector(TelemetryServicer):
    def __init__(
        self,
        *,
        port: int = 0,
        acknowledges: bool = True,
        welcomes: bool = True,
        reads: threading.Event | None = None,
        refuses: tuple[grpc.StatusCode, str] | None = None,
        tls: tuple[Pair, Authority] | None = None,
    ) -> None:
        """reads: messages are taken only while it is set; refuses: the status that each stream is ended with."""
        self.heard: list[pb.FromAgent] = []
        self.judged = ("", 0)
        self._acknowledges = acknowledges
        self._welcomes = welcomes
        self._reads = reads
        self._refuses = refuses
        self._out: Queue[pb.ToAgent | None] = Queue()
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        add_TelemetryServicer_to_server(self, self._server)
        address = f"127.0.0.1:{port or free_port()}"
        if tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            pair, authority = tls
            credentials = grpc.ssl_server_credentials(
                [(pair.key.read_bytes(), pair.cert.read_bytes())], authority.ca.read_bytes(), require_client_auth=True
            )
            self.port = self._server.add_secure_port(address, credentials)
        self._server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> "Collector":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._out.put(None)
        self._server.stop(grace=0).wait()

    def say(self, message: pb.ToAgent) -> None:
        self._out.put(message)

    def reports(self, lane: pb.Lane.ValueType | None = None) -> list[pb.Report]:
        return [
            report
            for message in list(self.heard)
            for report in message.reports.reports
            if lane is None or message.reports.lane == lane
        ]

    def events(self) -> list[pb.Event]:
        return [event for message in list(self.heard) for event in message.events.events]

    def hellos(self) -> list[pb.Hello]:
        return [message.hello for message in list(self.heard) if message.HasField("hello")]

    def fence(self, *fences: pb.DeviceFence) -> None:
        self.say(pb.ToAgent(fence=pb.Fence(fences=fences)))

    def fenced(self) -> list[list[pb.DeviceFence]]:
        """The answer to each Fence."""
        return [list(message.fenced.fences) for message in list(self.heard) if message.HasField("fenced")]

    def Stream(  # gRPC's name
        self, request_iterator: Iterator[pb.FromAgent], context: grpc.ServicerContext
    ) -> Iterator[pb.ToAgent]:
        if self._refuses is not None:
            context.abort(*self._refuses)
        reader = threading.Thread(target=self._listen, args=(request_iterator,), daemon=True)
        reader.start()
        while context.is_active():
            try:
                message = self._out.get(timeout=0.05)
            except Empty:
                continue
            if message is None:
                return
            yield message

    def _listen(self, requests: Iterator[pb.FromAgent]) -> None:
        try:
            for message in requests:
                if self._reads is not None:
                    self._reads.wait()
                self.heard.append(message)
                self._answer(message)
        except grpc.RpcError:
            pass  # the agent is gone

    def _answer(self, message: pb.FromAgent) -> None:
        if message.HasField("hello") and self._welcomes:
            self._welcomes = False
            self.say(pb.ToAgent(welcome=pb.Welcome(
                wire=1, evidence_s=120.0, judged_epoch=self.judged[0], judged_seq=self.judged[1]
            )))
        numbers = [(message.reports.epoch, each.seq) for each in message.reports.reports]
        numbers += [(message.events.epoch, each.seq) for each in message.events.events]
        if numbers and self._acknowledges:
            self.say(pb.ToAgent(ack=pb.Ack(stored=[
                pb.EpochRanges(epoch=epoch, ranges=[pb.Range(lo=seq, hi=seq)]) for epoch, seq in numbers
            ])))
