"""python -m bench.watch: what watches and recordings cost with 80,000 devices, and how soon a change is heard.

The real judgement, view, log and HTTP server in one process, watchers that read from their sockets in another. Every
node reports once a second, in micro-batches as the collector makes them.
"""

import asyncio
import json
import math
import multiprocessing
import random
import time
from collections import deque
from typing import NamedTuple

import httpx
import numpy as np

from bench.probe import BUSY, GAUGES, IDLE
from fallow_collector.api.app import make_app
from fallow_collector.api.server import HttpServer
from fallow_collector.fleet.arrival import Arrival, Values
from fallow_collector.fleet.layouts import Binding, bind
from fallow_collector.idle import phase
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import WITNESSES
from fallow_collector.pipeline import FLUSH_S
from fallow_collector.replay.recorder import Recorder
from fallow_collector.replay.taped import TapedEngine, TapedFleet
from fallow_collector.view import View
from fallow_collector.watch.feed import Feed
from fallow_collector.watch.watchers import Watchers
from fallow_proto import WIRE
from fallow_proto.codec import layout_of
from fallow_proto.states import Phase
from fallow_proto.v1 import telemetry_pb2 as pb

NODES, DEVICES = 10_000, 8
WATCHERS = 20
SECONDS = 20.0
SETTLE_S = 5.0  # until the watchers have begun
BATCHES = round(1 / FLUSH_S)  # a second
CHANGES = 4  # devices that become busy in each micro-batch
BUSY_S = 3
INTERVAL_S = 5.0  # as far as the judgement knows, so that a busy machine makes no gap in the evidence
IDLE_PHASE = phase.PHASES.index(Phase.IDLE)
SETTINGS = IdleSettings(confirm_s=2.0, confirm_readings=2)  # idle soon; what is measured does not depend on it

Times = list[float]


class Site:
    """Idle devices, of which some become busy and idle again."""

    def __init__(self) -> None:
        self.engine = TapedEngine(SETTINGS)
        self.fleet = TapedFleet(self.engine, WITNESSES)
        self.view = View(self.fleet, self.engine, time.monotonic, time.time)
        self.feed = Feed(self.fleet, self.view)
        self.received: dict[str, float] = {}  # when the report came that a device is busy
        self._bindings = [self._node(number) for number in range(NODES)]
        self._seq = [0] * NODES
        self._busy: deque[tuple[float, int]] = deque()  # until when, row

    def _node(self, number: int) -> Binding:
        uuids = [f"GPU-{number:05d}-{index}" for index in range(DEVICES)]
        devices = [
            pb.Device(uuid=uuid, vendor="bench", model="Probe", device_class="intelligent", index=index)
            for index, uuid in enumerate(uuids)
        ]
        name = f"n{number:05d}"
        hello = pb.Hello(wire=WIRE, node=name, site="bench", epoch="e", interval_s=INTERVAL_S, devices=devices)
        self.fleet.hello(hello, time.monotonic(), time.time())
        block = pb.Block(reader="bench", group="fast", interval_s=INTERVAL_S, devices=uuids, gauges=GAUGES)
        return bind(self.fleet, self.fleet.node_number(name), layout_of([block]))

    def arrivals(self, numbers: range, now: float, busier: int) -> list[Arrival]:
        """The next reports of these nodes, come in during the micro-batch before now; so many more are busy."""
        chosen = random.sample(range(numbers.start * DEVICES, numbers.stop * DEVICES), busier)
        while self._busy and self._busy[0][0] < now:
            self._busy.popleft()
        self._busy.extend((now + BUSY_S, row) for row in chosen)
        busy = {row for _, row in self._busy}
        made = []
        for number in numbers:
            binding = self._bindings[number]
            self._seq[number] += 1
            receipt = now - random.uniform(0, FLUSH_S)
            rows = range(number * DEVICES, (number + 1) * DEVICES)
            gauges = np.array([BUSY if row in busy else IDLE for row in rows], dtype=np.float32)
            for row in set(chosen).intersection(rows):
                self.received[self.fleet.identities[row].uuid] = receipt
            made.append(Arrival(
                binding.node, "e", self._seq[number], self._seq[number] - 1, round(receipt * 1000), receipt,
                (Values(binding.blocks[0], gauges, np.zeros((DEVICES, 0)), None),),
            ))
        return made


class Heard(NamedTuple):
    """What the watchers heard: when, by the machine's clock, which device became busy; and how long a list took."""

    changes: list[tuple[float, str]]
    events: int
    list_s: float


def read(url: str, resume: str, heard: "multiprocessing.Queue[Heard]") -> None:
    """The watchers, until the server ends their streams."""
    heard.put(asyncio.run(_read(url, resume)))


async def _read(url: str, resume: str) -> Heard:
    async with httpx.AsyncClient(base_url=url, timeout=None, trust_env=False) as http:
        list_s, *watched = await asyncio.gather(_list(http), *(_watch(http, resume) for _ in range(WATCHERS)))
    changes = [change for found, _ in watched for change in found]
    return Heard(changes, sum(events for _, events in watched), list_s)


async def _list(http: httpx.AsyncClient) -> float:
    began = time.monotonic()
    async with http.stream("GET", "/api/v1/watch") as answer:
        async for chunk in answer.aiter_raw():
            if b"event: bookmark" in chunk:
                return time.monotonic() - began
    return math.nan


async def _watch(http: httpx.AsyncClient, resume: str) -> tuple[list[tuple[float, str]], int]:
    changes: list[tuple[float, str]] = []
    many, rest = 0, b""
    async with http.stream("GET", "/api/v1/watch", params={"resume": resume}) as answer:
        async for chunk in answer.aiter_raw():
            now = time.monotonic()
            *events, rest = (rest + chunk).split(b"\n\n")
            many += len(events)
            changes += [
                (now, json.loads(event[event.index(b"data: ") + 6 :])["device"]["uuid"])
                for event in events if b'"phase":"unmanaged"' in event
            ]
    return changes, many


async def _measure(site: Site) -> None:
    watches = Watchers(site.feed)
    server = HttpServer(make_app(None, None, "bench", watches=watches), "127.0.0.1:0")  # type: ignore[arg-type]
    url = f"http://{await server.start()}"
    spawn = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[Heard] = spawn.Queue()
    apply: Times = []
    snapshot: Times = []
    reader = None
    until = math.inf
    batch = 0
    while (now := time.monotonic()) < until:
        part = batch % BATCHES
        numbers = range(part * NODES // BATCHES, (part + 1) * NODES // BATCHES)
        batch += 1
        measuring = now > until - SECONDS
        arrivals = site.arrivals(numbers, now, CHANGES if measuring else 0)
        began = time.perf_counter()
        site.fleet.apply(arrivals)
        judged = time.perf_counter()
        site.view.refresh()
        done = time.perf_counter()
        if measuring:
            apply.append(judged - began)
            snapshot.append(done - judged)
        if reader is None and (site.view.shown["phase"] == IDLE_PHASE).all():
            reader = spawn.Process(target=read, args=(url, f"{site.view.epoch}:{site.view.revision}", queue))
            reader.start()
            until = now + SETTLE_S + SECONDS
        spent = time.monotonic() - now
        await asyncio.sleep(max(FLUSH_S - spent, spent))  # as the collector: never more than half of the time
    assert reader is not None
    watches.close()
    await server.stop()
    heard = await asyncio.to_thread(queue.get, timeout=60)
    reader.join()
    print(f"  {len(numbers)} reports in a micro-batch: judged in {_quantiles(apply)}")
    print(f"  snapshot and log: {_quantiles(snapshot)}")
    print(f"  list of {NODES * DEVICES:,} devices, beside the rest: {1000 * heard.list_s:.0f} ms")
    took = [at - site.received[uuid] for at, uuid in heard.changes]
    took = [each for each in took if 0 <= each < BUSY_S]  # else it was busy twice
    print(f"  receipt → watcher, {WATCHERS} watchers, {len(took)} changes of phase: {_quantiles(took)}; "
          f"{heard.events} events heard")


def _record(site: Site) -> None:
    """What a recording costs while it is made, its reader apart."""
    began = time.perf_counter()
    recorder = Recorder(site.fleet, site.engine, site.view, "bench", time.monotonic(), time.time())
    begin = time.perf_counter() - began
    state = sum(map(len, recorder.state()))
    taped: Times = []
    size = 0
    for _ in range(BATCHES):
        arrivals = site.arrivals(range(NODES // BATCHES), time.monotonic(), CHANGES)
        began = time.perf_counter()
        recorder.write_reports(arrivals)
        taped.append(time.perf_counter() - began)
        size += len(recorder.taken())
    recorder.end("bench")
    print(f"  recording: begun in {1000 * begin:.0f} ms, state {state / 2**20:.0f} MiB; a micro-batch on tape "
          f"{_quantiles(taped)}, {size / 2**20:.1f} MiB/s before compression")


def _quantiles(times: Times) -> str:
    p50, p99 = np.quantile(times, (0.5, 0.99)) * 1000
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def main() -> None:
    print(f"watch: {NODES * DEVICES:,} devices, {CHANGES * BATCHES} a second become busy", flush=True)
    site = Site()
    asyncio.run(_measure(site))
    _record(site)


if __name__ == "__main__":
    main()
