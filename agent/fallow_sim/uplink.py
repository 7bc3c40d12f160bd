"""The stream of one simulated node, kept open for as long as the program runs."""

import asyncio
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc.aio

from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_sim.node import Batch, Node
from fallow_sim.progress import Progress

if TYPE_CHECKING:
    from fallow_proto.v1.telemetry_pb2_grpc import TelemetryAsyncStub

LONGEST_WAIT_S = 15.0


class Uplink:
    def __init__(self, node: Node, stub: "TelemetryAsyncStub", progress: Progress, jitter: random.Random) -> None:
        self.node = node
        self.wake = asyncio.Event()  # there is something to send
        self._stub = stub
        self._progress = progress
        self._jitter = jitter
        self._failures = 0

    async def run(self, within_s: float) -> None:
        """Connect within so many seconds, and whenever the stream ends again, after a wait with full jitter.

        AWS Architecture Blog, "Exponential Backoff And Jitter": it spreads a fleet best after a common cause.
        """
        await asyncio.sleep(self._jitter.uniform(0, within_s))
        while True:
            await self._stream()
            self._failures += 1
            self._progress.reconnects += 1
            await asyncio.sleep(self._jitter.uniform(0, min(LONGEST_WAIT_S, 2.0**self._failures)))

    async def _stream(self) -> None:
        call = self._stub.Stream()
        sender = asyncio.create_task(self._send(call))
        try:
            async for message in call:
                self._receive(message)
        except grpc.aio.AioRpcError as error:
            self._progress.failure = f"{error.code().name}: {error.details()}"
        finally:
            if self.node.welcome:
                self._progress.connected -= 1
            self.node.welcome = False
            sender.cancel()
            call.cancel()
            await asyncio.wait([sender])  # unlike awaiting it, this lets a cancellation of our own through

    def _receive(self, message: pb.ToAgent) -> None:
        refused, welcome = len(self.node.refused), self.node.welcome
        now = time.time()
        for lo, hi in self.node.received(message):
            for seq in range(lo, hi + 1):
                self._progress.acknowledged(now - self.node.source.due(seq))
        if message.HasField("refuse"):
            self._progress.refused += len(self.node.refused) - refused
            self._progress.refusal = message.refuse.reason
        if self.node.welcome and not welcome:
            self._failures = 0
            self._progress.connected += 1
            self._progress.welcomed = True
        if not message.HasField("ack"):
            self.wake.set()

    async def _send(self, call: "grpc.aio.StreamStreamCall[pb.FromAgent, pb.ToAgent]") -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the reading side says why
            await call.write(self.node.opened())
            while not self.node.welcome:
                await self._woken()
            await call.write(pb.FromAgent(layout=self.node.source.layout))
            while True:
                await self._answer(call)
                while (batch := self.node.judged()) is not None:
                    await self._write(call, batch)
                    await self._answer(call)
                if (batch := self.node.backlog()) is not None:
                    await self._write(call, batch)
                await self._woken()

    async def _answer(self, call: "grpc.aio.StreamStreamCall[pb.FromAgent, pb.ToAgent]") -> None:
        while (answer := self.node.answer()) is not None:
            await call.write(answer)

    async def _woken(self) -> None:
        await self.wake.wait()
        self.wake.clear()

    async def _write(self, call: "grpc.aio.StreamStreamCall[pb.FromAgent, pb.ToAgent]", batch: Batch) -> None:
        await call.write(self.node.message(batch))
        self._progress.sent += batch.hi - batch.lo + 1
