"""Plays beats to a collector: the shell around nodes, streams and the clock."""

import asyncio
import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import grpc.aio

from fallow_proto.v1.telemetry_pb2_grpc import TelemetryStub
from fallow_sim.beat import Beat
from fallow_sim.node import Node
from fallow_sim.progress import Progress
from fallow_sim.tls import Tls
from fallow_sim.uplink import Uplink

CONNECTS_PER_S = 1000  # at the start; 2.3 ms of two cores for each stream with mTLS, a third without
LINGER_S = 10.0  # at the end, for acknowledgements
_OPTIONS = (
    # Without it, channels to one address share one connection, and with it the server's limit on streams.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),  # what really notices a peer that hangs, in grpcio 1.85
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_retries", 0),
)


class Target(NamedTuple):
    """Where to, and how many streams share a connection."""

    address: str
    tls: Tls | None
    streams_per_channel: int


async def play(
    beats: Iterator[Beat],
    start: float,
    nodes: Sequence[Node],
    target: Target,
    progress: Progress,
    *,
    stop: asyncio.Event,
    say: Callable[[str], None],
    seed: int,
) -> None:
    """Play beats, which count from `start` (unix seconds), until they end or `stop` is set.

    `say` gets a line a second. Raises TlsError.
    """
    jitter = random.Random(seed)
    channels = _channels(target, nodes)
    uplinks = [
        Uplink(node, TelemetryStub(channels[number // target.streams_per_channel]), progress, jitter)
        for number, node in enumerate(nodes)
    ]
    by_node = {id(uplink.node): uplink for uplink in uplinks}
    tasks = [asyncio.create_task(uplink.run(len(nodes) / CONNECTS_PER_S)) for uplink in uplinks]
    gc.freeze()  # 10,000 nodes are a million objects, which stay: not to be looked through again and again
    tasks.append(asyncio.create_task(_say_every_second(progress, say)))
    try:
        await _beat(beats, start, by_node, progress, stop)
        await _settle(progress, stop)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for channel in channels:
            await channel.close()


async def _beat(
    beats: Iterator[Beat], start: float, uplinks: dict[int, Uplink], progress: Progress, stop: asyncio.Event
) -> None:
    origin = time.monotonic() - (time.time() - start)
    for beat in beats:
        early = origin + beat.after_s - time.monotonic()
        if early > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), early)
        else:
            await asyncio.sleep(0)
        if stop.is_set():
            return
        progress.lag_s = max(0.0, -early)
        beat.make()
        progress.due += len(beat.nodes)
        for node in beat.nodes:
            uplinks[id(node)].wake.set()


async def _settle(progress: Progress, stop: asyncio.Event) -> None:
    """Wait for what is not acknowledged yet, unless asked to stop at once."""
    deadline = time.monotonic() + LINGER_S
    while progress.acked + progress.refused < progress.due and time.monotonic() < deadline and not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.05)


async def _say_every_second(progress: Progress, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(1.0)
        say(progress.line())


def _channels(target: Target, nodes: Sequence[Node]) -> list[grpc.aio.Channel]:
    return [_channel(target, node) for node in nodes[:: target.streams_per_channel]]


def _channel(target: Target, node: Node) -> grpc.aio.Channel:
    """node: the first of those that share it."""
    if target.tls is None:
        return grpc.aio.insecure_channel(target.address, options=_OPTIONS)
    credentials = target.tls.credentials(node.source.hello().node)
    return grpc.aio.secure_channel(target.address, credentials, options=_OPTIONS)
