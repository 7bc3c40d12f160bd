"""Fit over 80,000 devices: delay of an answer, by size of gang. `python -m bench.fit`, about half a minute."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from fallow_collector.answers.fit import Fitter
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle import phase
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import WITNESSES
from fallow_collector.view import View
from fallow_proto.dispatch import Request
from fallow_proto.metrics import COLUMN
from fallow_proto.v1 import telemetry_pb2 as pb

NODES, NODE_DEVICES = 10_000, 8
RACK_NODES = 16
IDLE_SHARE = 0.4
GANGS = (1, 8, 64, 1_024)
ANSWERS = 200
GIB = 2.0**30
MODELS = (("nvidia", "NVIDIA A100-SXM4-80GB", 80 * GIB), ("ascend", "910B3", 64 * GIB))


def run() -> None:
    """Delay of fit: of the first answer from a snapshot, which makes the columns, and of one more from the same."""
    fleet, engine = large_fleet()
    view = View(fleet, engine, lambda: 1000.0, time.time)
    fitter = Fitter(fleet, view)
    began = time.perf_counter()
    fitter.fit(Request())
    print(f"fit: {fleet.count:,} devices on {NODES:,} nodes, {IDLE_SHARE:.0%} idle; the first answer of all takes "
          f"{1000 * (time.perf_counter() - began):.0f} ms")
    for name, request in _requests():
        fits = fitter.fit(request)
        first, more = _delays(lambda request=request: fitter.fit(request), view)
        print(f"  {name:38} {'fits' if fits.fits else 'does not fit':12} first of a snapshot {_quantiles(first)}, "
              f"one more {_quantiles(more)}")


def _requests() -> Iterator[tuple[str, Request]]:
    for count in GANGS:
        yield f"{count:,}", Request(count=count)
    for count in GANGS[1:]:
        yield f"{count:,}, 4 on each node", Request(count=count, per_node=4)
    yield "64 in one rack, 40 GiB free", Request(count=64, same="rack", free_memory_bytes=int(40 * GIB))
    yield "8 on one link domain", Request(count=8, same="link")
    yield "1,024 with 70 GiB and 300 TFLOP/s", Request(count=1_024, free_memory_bytes=int(70 * GIB), peak_flops=3e14)
    yield "100,000", Request(count=100_000)
    yield "64 on one node, 70 GiB, 100 W, A100", Request(
        count=64, same="node", free_memory_bytes=int(70 * GIB), power_headroom_watts=100, peak_flops=3e14,
        model=["NVIDIA A100-SXM4-80GB"], exclude_nodes=[f"node-{n:05d}" for n in range(0, 1000, 3)],
    )


def _delays(answer: Callable[[], object], view: View) -> tuple[list[float], list[float]]:
    first, more = [], []
    for _ in range(ANSWERS):
        view.refresh()
        for delays in (first, more):
            began = time.perf_counter()
            answer()
            delays.append(time.perf_counter() - began)
    return first, more


def _quantiles(delays: list[float]) -> str:
    p50, p99 = np.quantile(delays, (0.5, 0.99))
    return f"p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms"


def large_fleet() -> tuple[Fleet, Engine]:
    """A fleet whose arrays are written directly: what devices say, and what is judged of it."""
    engine = Engine(IdleSettings())
    fleet = Fleet(engine, WITNESSES)
    for number in range(NODES):
        vendor, model, _ = MODELS[number % 2]
        fleet.hello(pb.Hello(
            wire=1, node=f"node-{number:05d}", site=f"site-{number % 3}", rack=f"rack-{number // RACK_NODES}",
            epoch="e", interval_s=1.0,
            devices=[
                pb.Device(uuid=f"{number * 7919 % NODES:05d}-{i}", vendor=vendor, model=model, index=i,
                          device_class="intelligent", driver_version="1", link_domain=f"{number}-{i // 4}")
                for i in range(NODE_DEVICES)
            ],
        ), 1000.0, 1.7e9)
    devices, random = slice(fleet.count), np.random.default_rng(1)
    fleet.last_ms[devices] = 1
    fleet.seen_at[devices] = 1000 - random.random(fleet.count)
    fleet.good_until_ms[devices] = 10
    limit = np.array([MODELS[number % 2][2] for number in range(NODES)]).repeat(NODE_DEVICES)
    for name, values in (
        ("memory_limit_bytes", limit), ("memory_usage_bytes", limit * 0.1 * random.random(fleet.count)),
        ("power_limit_watts", 400.0), ("power_watts", 50 + 20 * random.random(fleet.count)),
    ):
        fleet.values[devices, COLUMN[name]] = values
    idle = random.random(fleet.count) < IDLE_SHARE
    idle[: fleet.count // 4] = random.random(fleet.count // 4 // NODE_DEVICES).repeat(NODE_DEVICES) < IDLE_SHARE
    engine.state["occupancy"][devices] = np.where(idle, phase.CONFIRMED, phase.ACTIVE)
    engine.state["reasons"][devices] = 0
    engine.state["health"][devices] = 0
    engine.state["low"][devices] = False
    return fleet, engine


if __name__ == "__main__":
    run()
