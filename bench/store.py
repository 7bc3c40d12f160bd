"""The embedded store: rows a second, delay of a write, bytes on disk. `python -m bench.store`, about a minute."""

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fallow_collector.stores.embedded import EmbeddedSettings, EmbeddedStore
from fallow_collector.stores.store import Batch, HistoryQuery, Rows, Series, Source, Span
from fallow_sim.load import COUNTERS, GAUGES, Load
from fallow_sim.profiles import PROFILES

START = 1_763_769_600.0  # a whole hour
SINCE = START - 86_400.0  # the simulated devices have run for a day
NODE_DEVICES = 8
KEPT = [column for column, name in enumerate(GAUGES) if name != "recovery_action"]
GAUGES_20 = tuple(GAUGES[column] for column in KEPT)  # with the counters: a row of 20 values


class Fleet:
    """Batches of a simulated fleet with job-like load: one row of 20 values a device and second."""

    def __init__(self, devices: int) -> None:
        nodes = devices // NODE_DEVICES
        profile = PROFILES["nvidia"]
        self._load = Load(profile, list(range(nodes)), NODE_DEVICES, seed=1, since=SINCE)
        self._positions = np.arange(devices, dtype=np.int32)
        # The nodes are not in step, and a tick of one is a millisecond or two early or late.
        self._offset = np.random.default_rng(1).integers(0, 1000, nodes)
        self._jitter = np.random.default_rng(2)
        uuids = np.random.default_rng(3)
        self.series = [
            Series("default", f"node-{device // NODE_DEVICES:05d}", f"GPU-{uuids.bytes(16).hex()}", profile.vendor,
                   profile.model, "intelligent")
            for device in range(devices)
        ]
        self._sources = [Source(f"node-{node:05d}", f"{node:032x}") for node in range(nodes)]

    def batch(self, second: int) -> Batch:
        tick_ms = self._offset + self._jitter.integers(-2, 3, len(self._offset)) + 2
        time_ms = round(START + second) * 1000 + np.repeat(tick_ms, NODE_DEVICES)
        readings = self._load.at(self._positions.astype(np.int64), time_ms / 1000.0)
        blocks = [Rows(time_ms, self._positions, GAUGES_20, readings.gauges[:, KEPT], COUNTERS, readings.counters)]
        if second % 10 == 0:
            limit = np.full((len(time_ms), 1), 400.0, np.float32)
            blocks.append(Rows(time_ms, self._positions, ("power_limit_watts",), limit, (), np.empty((len(limit), 0))))
        return Batch(blocks, [Span(source, second, second) for source in self._sources], self.series)


class Spent(NamedTuple):
    wall_s: float
    cpu_s: float


def spent(call: Callable[[], object]) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


@contextmanager
def opened() -> Iterator[EmbeddedStore]:
    with tempfile.TemporaryDirectory(prefix="fallow-bench-") as folder:
        store = EmbeddedStore(Path(folder), EmbeddedSettings(min_free_gib=0))
        store.open()
        try:
            yield store
        finally:
            store.close()


def unpaced(devices: int, writes: int) -> None:
    """One write after the other, from memory."""
    fleet = Fleet(devices)
    batches = [fleet.batch(second) for second in range(10)]
    with opened() as store:
        store.write(batches[0], START)  # names the series, begins the slice
        costs = [spent(partial(store.write, batches[number % 10], START)) for number in range(writes)]
    _report(f"unpaced, {devices:,} rows a write", devices, costs)


def paced(devices: int, seconds: int) -> None:
    """A write a second with the upkeep beside it."""
    fleet = Fleet(devices)
    with opened() as store:
        costs = []
        due = time.monotonic()
        for second in range(seconds):
            costs.append(spent(partial(store.write, fleet.batch(second), START + second)))
            store.maintain(START + second)
            due += 1.0
            time.sleep(max(0.0, due - time.monotonic()))
        facts = store.facts()
    _report(f"one write a second of {devices:,} rows", devices, costs[1:])
    print(f"  slices closed meanwhile: {facts['slice_files']:.0f}; peak memory of the process "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


def sizes(devices: int, seconds: int) -> None:
    """Bytes on disk, and what the way there costs."""
    fleet = Fleet(devices)
    rows = devices * seconds
    with opened() as store:
        for second in range(seconds):
            store.write(fleet.batch(second), START + second)
        print(f"{devices:,} devices x {seconds} s of simulated load, 20 values a row, power limit every 10 s:")
        print(f"  hot    {store.facts()['bytes'] / rows:6.1f} B/row (for some minutes)")
        _history(store, fleet.series[devices // 2].uuid)
        closing = spent(lambda: _until(store, START + 3599, "hot_slices"))
        facts = store.facts()
        print(f"  closed {facts['raw_bytes'] / facts['raw_rows']:6.1f} B/row in {facts['slice_files']:.0f} slices, "
              f"{closing.cpu_s / rows * 1e6:.2f} CPU µs a row")
        compaction = spent(lambda: _until(store, START + 7200, "slice_files"))
        facts = store.facts()
        minutes = rows / 60
        print(f"  hour   {facts['raw_bytes'] / facts['raw_rows']:6.1f} B/row, roll-ups "
              f"{facts['minute_bytes'] / minutes:.1f} B a device-minute ({facts['minute_bytes'] / rows:.2f} B/row), "
              f"{compaction.cpu_s / rows * 1e6:.2f} CPU µs a row")
        _history(store, fleet.series[devices // 2].uuid)


def _history(store: EmbeddedStore, uuid: str) -> None:
    columns = ("power_watts", "utilization_ratio", "energy_joules_total")
    for step in (0.0, 60.0):
        query = HistoryQuery(uuid, columns, START, START + 3600, step)
        took = sorted(spent(partial(store.history, query)).wall_s for _ in range(5))
        print(f"         history of one device, step {step:.0f}: {took[2] * 1e3:.0f} ms")


def _until(store: EmbeddedStore, now: float, fact: str) -> None:
    while store.facts()[fact]:
        store.maintain(now)
        time.sleep(0.01)


def _report(what: str, rows: int, costs: list[Spent]) -> None:
    wall = np.array([cost.wall_s for cost in costs])
    cpu = sum(cost.cpu_s for cost in costs)
    p50, p99, worst = np.percentile(wall, [50, 99, 100]) * 1e3
    print(f"{what}: {rows * len(costs) / wall.sum():,.0f} rows/s, {cpu / rows / len(costs) * 1e6:.2f} CPU µs a row, "
          f"write p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {worst:.0f} ms ({len(costs)} writes)", flush=True)


def main() -> None:
    print("Embedded store")
    unpaced(8_000, 100)
    unpaced(80_000, 20)
    paced(80_000, 32)
    sizes(800, 600)


if __name__ == "__main__":
    main()
