"""The collector under a simulated fleet: throughput, cost, delay, memory; and its restart."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.probe import Probe
from bench.processes import Cost, cores, cost
from bench.servers import Collector, Fleet, fleet
from fallow_sim.load import COUNTERS, GAUGES
from fallow_sim.progress import Latencies

DEVICES = 8
VALUES = len(GAUGES) + len(COUNTERS)
FAST = {"confirm_s": 10.0, "evidence_s": 30.0}  # so that devices are idle soon; what is measured does not depend on it
SETTLED_WITHIN_S = 60.0


class Result(NamedTuple):
    nodes: int
    fits: bool


def run(nodes: int, seconds: float) -> Result:
    """One size of fleet, printed. It fits if the store keeps up with it."""
    with tempfile.TemporaryDirectory(prefix="fallow-bench-") as folder:
        collector = Collector(Path(folder), FAST)
        with collector.running() as process, fleet(collector, nodes, DEVICES) as simulated:
            connected = _until_connected(simulated, nodes)
            probe = Probe(collector.grpc, collector.http)
            return asyncio.run(_measure(collector, process, simulated, probe, nodes, seconds, connected))


async def _measure(
    collector: Collector, process: psutil.Popen, simulated: Fleet, probe: Probe, nodes: int, seconds: float,
    connected_s: float | None,
) -> Result:
    print(f"\ncollector: {nodes:,} nodes × {DEVICES} devices × {VALUES} values at 1 Hz, embedded store")
    if connected_s is None:
        print(f"  did not fit: {simulated.status().get('connected', '0')} nodes connected in {SETTLED_WITHIN_S:.0f} s")
        return Result(nodes, False)
    await asyncio.sleep(5)  # what piled up while they connected
    before, sim_before, counted = cost(process), cost(simulated.process), await asyncio.to_thread(collector.metrics)
    await asyncio.sleep(seconds)
    after, sim_after, now = cost(process), cost(simulated.process), await asyncio.to_thread(collector.metrics)
    elapsed = after.at - before.at
    rates = {
        name: (now[f"fallow_{name}"] - counted[f"fallow_{name}"]) / elapsed
        for name in ("fleet_judged_total", "writer_rows_total", "writer_dropped_total")
    }
    _print_throughput(nodes, before, after, rates)
    print(f"  acknowledgements: {simulated.status().get('pending', '?')} reports pending, "
          f"p99 {simulated.status().get('ack_p99_s', '?')} s after their reading; commit of the store "
          f"{1000 * now['fallow_writer_commit_seconds']:.0f} ms")
    print(f"  memory: {after.pss_bytes / 2**20:.0f} MiB; the simulator beside it takes "
          f"{cores(sim_before, sim_after):.2f} cores")
    await _print_delay(probe)
    keeps_up = min(rates["fleet_judged_total"], rates["writer_rows_total"] / DEVICES) >= 0.97 * nodes
    return Result(nodes, keeps_up)


def _print_throughput(nodes: int, before: Cost, after: Cost, rates: dict[str, float]) -> None:
    used, judged = cores(before, after), rates["fleet_judged_total"]
    print(f"  judged {judged:,.0f} reports/s of {nodes:,}, stored {rates['writer_rows_total']:,.0f} rows/s, "
          f"dropped {rates['writer_dropped_total']:,.0f} reports/s")
    print(f"  {used:.2f} cores; per core-second {judged / used:,.0f} reports, {judged * DEVICES / used:,.0f} device "
          f"rows, {judged * DEVICES * VALUES / used:,.0f} values")


async def _print_delay(probe: Probe) -> None:
    try:
        await probe.run(SETTLED_WITHIN_S, changes=60)
    except TimeoutError:
        print(f"  reading → capacity answer: the probe's devices were not idle within {SETTLED_WITHIN_S:.0f} s")
        return
    changes, answers = probe.changes, probe.answers
    print(f"  reading → capacity answer: {_quantiles(changes)} of {changes.count} changes; "
          f"one answer takes {_quantiles(answers)}")


def restart(nodes: int) -> None:
    """The collector is killed and started again: how long until every device is live and judged as before."""
    with tempfile.TemporaryDirectory(prefix="fallow-bench-") as folder:
        collector = Collector(Path(folder), {})
        with collector.running() as process, fleet(collector, nodes, DEVICES) as simulated:
            print(f"\nrestart of the collector: {nodes:,} nodes × {DEVICES} devices, kill -9")
            if _until_connected(simulated, nodes) is None:
                print("  the nodes did not connect")
                return
            time.sleep(75)  # devices are idle after 60 s
            idle = _idle(collector)[1]
            process.kill()
            process.wait()
            killed = time.monotonic()
            with collector.running():
                print(f"  answering again after {time.monotonic() - killed:.1f} s")
                _print_recovery(collector, nodes * DEVICES, idle, killed)


def _print_recovery(collector: Collector, devices: int, idle: int, killed: float) -> None:
    live, judged = f"all {devices:,} devices live", f"{idle:,} idle, as before"
    waiting = [live, judged]
    while waiting and time.monotonic() < killed + 120:
        found_live, found_idle = _idle(collector)
        done = [live] * (found_live >= devices) + [judged] * (found_idle >= 0.98 * idle)
        for what in [what for what in waiting if what in done]:
            print(f"  {what} after {time.monotonic() - killed:.1f} s")
            waiting.remove(what)
        time.sleep(0.1)
    for what in waiting:
        print(f"  not within 120 s: {what}")


def _idle(collector: Collector) -> tuple[int, int]:
    """Devices that are live, and idle ones among them."""
    groups = collector.get("/api/v1/capacity")["groups"]
    return sum(g["seen"] - g["unavailable"] for g in groups), sum(g["idle"] for g in groups)


def _until_connected(simulated: Fleet, nodes: int) -> float | None:
    """Seconds until all nodes were welcome; None if that took too long."""
    start = time.monotonic()
    while time.monotonic() < start + SETTLED_WITHIN_S:
        if simulated.status().get("connected") == str(nodes):
            return time.monotonic() - start
        time.sleep(0.2)
    return None


def _quantiles(latencies: Latencies) -> str:
    p50, p99 = latencies.quantile_s(0.5) or 0.0, latencies.quantile_s(0.99) or 0.0
    return f"p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms"
