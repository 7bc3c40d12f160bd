"""How long it takes from a reading to the first answer that shows it, measured from outside with a node of our own."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from uuid import uuid4

import httpx

from fallow_proto import WIRE
from fallow_proto.codec import layout_of
from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_sim.beat import Beat
from fallow_sim.node import Node
from fallow_sim.progress import Latencies, Progress
from fallow_sim.run import Target, play

VENDOR = "bench"
DEVICES = 60
INTERVAL_S = 0.5
GIB = 2.0**30
GAUGES = (
    "utilization_ratio", "memory_usage_bytes", "memory_limit_bytes", "processes", "processes_exempt", "power_watts",
    "power_limit_watts",
)
IDLE = (0.0, 2.0**22, 80 * GIB, 0.0, 0.0, 50.0, 400.0)
BUSY = (1.0, 40 * GIB, 80 * GIB, 1.0, 0.0, 350.0, 400.0)


class Source:
    """A node whose devices become busy one by one, and stay so."""

    def __init__(self) -> None:
        self.epoch = uuid4().hex
        self.uuids = [f"BENCH-{self.epoch}-{index:02d}" for index in range(DEVICES)]
        self.layout = layout_of([
            pb.Block(reader="bench", group="fast", interval_s=INTERVAL_S, devices=self.uuids, gauges=GAUGES)
        ])
        self._said: list[tuple[float, int]] = []  # when, how many were busy

    def say(self, busy: int) -> float:
        """One report more; its stamp, unix seconds."""
        self._said.append((time.time(), busy))
        return self._said[-1][0]

    def hello(self) -> pb.Hello:
        return pb.Hello(
            wire=WIRE, agent_version="bench", site="bench", node="bench", epoch=self.epoch, interval_s=INTERVAL_S,
            devices=[
                pb.Device(
                    uuid=uuid, vendor=VENDOR, model="Probe", device_class="intelligent", index=index, reader="bench"
                )
                for index, uuid in enumerate(self.uuids)
            ],
            readers=[pb.Reader(name="bench", state="ok")],
        )

    def fill(self, batch: pb.Reports, lo: int, hi: int) -> None:
        for seq in range(lo, hi + 1):
            at, busy = self._said[seq - 1]
            report = batch.reports.add(seq=seq, previous=seq - 1, time_ms=round(at * 1000))
            report.readings.add(block=0, gauges=BUSY * busy + IDLE * (DEVICES - busy))

    def due(self, seq: int) -> float:
        return self._said[seq - 1][0]

    def oldest_within(self, newest: int, seconds: float) -> int:
        return max(1, newest - int(seconds / INTERVAL_S))


class Probe:
    """changes: from a reading to the first capacity answer that shows it; answers: how long one answer takes."""

    def __init__(self, grpc: str, http: str) -> None:
        self.changes = Latencies()
        self.answers = Latencies()
        self._grpc = grpc
        self._url = f"http://{http}/api/v1/capacity?vendor={VENDOR}"
        self._source = Source()
        self._node = Node(self._source)
        self._busy = 0
        self._changing = False
        self._stamps: asyncio.Queue[tuple[float, int]] = asyncio.Queue()

    async def run(self, idle_within_s: float, changes: int) -> None:
        """Wait until all devices are idle, then make them busy one after the other, and see when it shows.

        Raises TimeoutError if they do not become idle.
        """
        stop = asyncio.Event()
        playing = asyncio.create_task(play(
            self._beats(), time.time(), [self._node], Target(self._grpc, None, 1), Progress(),
            stop=stop, say=lambda _: None, seed=0,
        ))
        try:
            async with httpx.AsyncClient(timeout=30) as client:
                async with asyncio.timeout(idle_within_s):
                    while await self._idle(client) != DEVICES:  # noqa: ASYNC110  # another process knows
                        await asyncio.sleep(0.2)
                self._changing = True
                for _ in range(min(changes, DEVICES)):
                    stamp, busy = await self._stamps.get()
                    while await self._idle(client) > DEVICES - busy:
                        pass
                    self.changes.add(time.time() - stamp)
        finally:
            stop.set()
            with suppress(asyncio.CancelledError):
                await playing

    async def _idle(self, client: httpx.AsyncClient) -> int:
        before = time.perf_counter()
        answer = (await client.get(self._url)).json()
        self.answers.add(time.perf_counter() - before)
        return sum(group["idle"] for group in answer["groups"])

    def _beats(self) -> Iterator[Beat]:
        for number in count():
            yield Beat(number * INTERVAL_S, self._tick, [self._node])

    def _tick(self) -> None:
        if self._changing and self._busy < DEVICES:
            self._busy += 1
        stamp = self._source.say(self._busy)
        self._node.newest += 1
        if self._busy:
            self._stamps.put_nowait((stamp, self._busy))
