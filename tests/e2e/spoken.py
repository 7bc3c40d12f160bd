"""Nodes of which a test says what their devices read, over the real wire."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import grpc

from fallow_proto.codec import layout_of
from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_proto.v1 import telemetry_pb2_grpc as stubs
from tests.collector.watching import IDLE, device

INTERVAL_S = 0.25


class SpokenNode:
    """A node with devices of minor 0, 1, …; its reports go on until it is closed."""

    def __init__(self, address: str, name: str, devices: int) -> None:
        self.uuids = [f"{name}-gpu{number}" for number in range(devices)]
        self.readings = [dict(IDLE) for _ in self.uuids]
        self.reasons = [0 for _ in self.uuids]
        self._name = name
        self._outgoing: SimpleQueue[pb.FromAgent | None] = SimpleQueue()
        self._channel = grpc.insecure_channel(address)
        self._stream = stubs.TelemetryStub(self._channel).Stream(iter(self._outgoing.get, None))
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=part) for part in (self._speak, self._listen)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._ended.set()
        self._outgoing.put(None)
        self._stream.cancel()
        for thread in self._threads:
            thread.join()
        self._channel.close()

    def _speak(self) -> None:
        gauges = list(IDLE)
        layout = layout_of([
            pb.Block(reader="r", group="fast", interval_s=INTERVAL_S, devices=self.uuids, gauges=gauges)
        ])
        self._outgoing.put(pb.FromAgent(hello=pb.Hello(
            wire=1, node=self._name, site="s1", epoch=f"e-{self._name}", interval_s=INTERVAL_S,
            devices=[device(uuid, index=number, minor=number) for number, uuid in enumerate(self.uuids)],
        )))
        self._outgoing.put(pb.FromAgent(layout=layout))
        began, epoch_ms, seq = time.monotonic(), time.time() * 1000, 0
        while not self._ended.wait(max(0.0, began + seq * INTERVAL_S - time.monotonic())):
            seq += 1
            self._outgoing.put(pb.FromAgent(reports=pb.Reports(
                epoch=f"e-{self._name}", layout=layout.hash, lane=pb.LANE_JUDGED,
                reports=[pb.Report(
                    seq=seq, previous=seq - 1, time_ms=round(epoch_ms + 1000 * (time.monotonic() - began)),
                    readings=[pb.Readings(
                        block=0, gauges=[reading[name] for reading in self.readings for name in gauges],
                        reasons=self.reasons,  # type: ignore[arg-type]
                    )],
                )],
            )))

    def _listen(self) -> None:
        try:
            for _ in self._stream:
                pass
        except grpc.RpcError:
            pass  # closed, or the collector has stopped


@contextmanager
def spoken(address: str, devices: int, *names: str) -> Iterator[list[SpokenNode]]:
    nodes = [SpokenNode(address, name, devices) for name in names]
    try:
        yield nodes
    finally:
        for node in nodes:
            node.close()
