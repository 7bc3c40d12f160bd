"""What dispatching costs with 80,000 devices: judging, asking, durable leases. `python -m bench.dispatch`, a minute."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, repeat
from pathlib import Path

import numpy as np

from bench.fit import NODE_DEVICES, NODES, large_fleet
from fallow_collector.answers.capacity import capacity
from fallow_collector.answers.fit import Fitter
from fallow_collector.desk import Around, Desk
from fallow_collector.faulted import Faulted
from fallow_collector.fit.members import Directory
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle import phase
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.state import COLUMN, WITNESSES
from fallow_collector.leases import LeaseFile
from fallow_collector.pipeline import FLUSH_S
from fallow_collector.view import View
from fallow_proto.api import FLOPS_SHOWN
from fallow_proto.dispatch import Fault, Request, Reserve
from fallow_proto.states import Phase

NOW = 1000.0  # of the fleet's clock, which stands still
TIMES = 100
SECONDS = 5.0


def run() -> None:
    fleet, engine = large_fleet()
    view = View(fleet, engine, lambda: NOW, time.time)
    print(f"dispatch: {fleet.count:,} devices on {NODES:,} nodes")
    _judging(engine)
    print(f"  a snapshot of all devices: {_quantiles(_delays(view.refresh))}")
    wanted = np.ones(fleet.count, dtype=np.bool_)
    directory = Directory(fleet)

    def ask() -> None:
        capacity(fleet, engine, view.now(), view.epoch, wanted, directory.members(), FLOPS_SHOWN)

    print(f"  capacity from a snapshot: {_quantiles(_delays(ask))}")
    kept = engine.state.copy()
    for at_once in (1, 32):
        asyncio.run(_reserving(fleet, engine, view, at_once))
        engine.state[:] = kept  # what was reserved is idle again


def _judging(engine: Engine) -> None:
    """The readings that come between two turns when every node reports once a second."""
    rows = np.arange(round(NODES * FLUSH_S) * NODE_DEVICES, dtype=np.int32)
    values = np.full((len(rows), len(WITNESSES)), np.nan)
    for name, value in (
        ("utilization_ratio", 0.0), ("power_watts", 60.0), ("power_limit_watts", 400.0), ("processes", 0.0),
        ("memory_usage_bytes", 2.0**29), ("memory_limit_bytes", 80 * 2.0**30), ("energy_joules_total", 1.0),
    ):
        values[:, COLUMN[name]] = value
    kept = engine.state.copy()
    ticks = count(1)

    def judge() -> None:
        tick = next(ticks)
        values[:, COLUMN["energy_joules_total"]] = tick
        engine.observe(
            rows, values, np.zeros(len(rows), dtype=np.uint8), np.full(len(rows), 1000 * tick, dtype=np.int64),
            np.ones(len(rows)), np.ones(len(rows), dtype=np.bool_),
        )

    delays = _delays(judge)
    each_us = 1e6 * float(np.median(delays)) / len(rows)
    print(f"  judging a micro-batch of {len(rows):,} readings: {_quantiles(delays)}, {each_us:.2f} µs a device")
    engine.state[:] = kept


async def _reserving(fleet: Fleet, engine: Engine, view: View, at_once: int) -> None:
    """Reserve without commit, so that no node is asked; each is on disk before it is answered."""
    with tempfile.TemporaryDirectory() as folder:
        around = Around(
            monotonic=lambda: NOW, wall=time.time, flush=lambda now: None, prepare=view.prepare, refresh=view.refresh,
            send=lambda node, fences: False, note=lambda *note: None, failed_fast=lambda *lease: None,
        )
        desk = Desk(LeaseFile(Path(folder)), fleet, engine, Fitter(fleet, view), around)
        idle = view.refresh().assessment.phase == phase.PHASES.index(Phase.IDLE)
        names = [fleet.identities[row].uuid for row in np.flatnonzero(idle)[::-1].tolist()]
        by_name = (Reserve(devices=[name], hold=True, holder="bench") for name in names)
        by_request = repeat(Reserve(request=Request(count=8, same="node"), hold=True, holder="bench"))
        for what, wanted in (("one device by name", by_name), ("8 on one node, found", by_request)):
            delays, spent_s = await _hammered(desk, wanted, at_once)
            print(f"  durable reserve, {what}, {at_once} at once: {len(delays) / spent_s:,.0f} a second, "
                  f"{_quantiles(delays)}")
        await desk.close()
    fleet.allocation[: fleet.count] = 0
    fleet.allocated_at[: fleet.count] = -np.inf


async def _hammered(desk: Desk, wanted: Iterator[Reserve], at_once: int) -> tuple[list[float], float]:
    """Delays, and how long it took: until time is up, or no more is wanted or free."""
    delays = []
    start = time.perf_counter()

    async def one() -> None:
        for reserve in wanted:
            began = time.perf_counter()
            try:
                await desk.reserve(reserve, "")
            except Faulted as fault:
                if fault.fault is not Fault.NO_CAPACITY:
                    raise
                return
            delays.append(time.perf_counter() - began)
            if time.perf_counter() - start > SECONDS:
                return

    await asyncio.gather(*(one() for _ in range(at_once)))
    return delays, time.perf_counter() - start


def _delays(work: Callable[[], object]) -> list[float]:
    delays = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        delays.append(time.perf_counter() - began)
    return delays


def _quantiles(delays: list[float]) -> str:
    p50, p99 = np.quantile(delays, (0.5, 0.99))
    return f"p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms"


if __name__ == "__main__":
    run()
