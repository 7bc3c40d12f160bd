"""Reports of many nodes as few large arrays, with what no device can mean taken out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.arrival import Arrival, Values
from fallow_collector.fleet.layouts import columns_of
from fallow_proto.metrics import BY_NAME, Group


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Readings that share group and columns; n of them, a device each.

    rows int32[n], rows of the fleet; series int32[n], positions in Fleet.series; node int32[n]; report int32[n],
    positions in the reports gathered; time_ms int64[n], agents' stamps; interval_s float64[n]; gauges float32[n, g];
    counters float64[n, c]; reasons uint8[n].
    """

    group: Group
    gauge_names: tuple[str, ...]
    counter_names: tuple[str, ...]
    rows: NDArray[np.int32]
    series: NDArray[np.int32]
    node: NDArray[np.int32]
    report: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    interval_s: NDArray[np.float64]
    gauges: NDArray[np.float32]
    counters: NDArray[np.float64]
    reasons: NDArray[np.uint8]
    absurd: int  # values taken out because no device can mean them


def gather(arrivals: Sequence[Arrival]) -> list[Chunk]:
    """All blocks of all reports, those of one shape together, in the order of the reports."""
    shapes: dict[object, list[tuple[int, Values]]] = {}
    for position, arrival in enumerate(arrivals):
        for values in arrival.values:
            if len(values.block.rows):
                shapes.setdefault(values.block.shape, []).append((position, values))
    return [_join(arrivals, parts) for parts in shapes.values()]


def _join(arrivals: Sequence[Arrival], parts: list[tuple[int, Values]]) -> Chunk:
    first = parts[0][1].block
    sizes = [len(values.block.rows) for _, values in parts]
    report = np.repeat(np.array([position for position, _ in parts], dtype=np.int32), sizes)
    gauges = np.concatenate([values.gauges for _, values in parts])
    counters = np.concatenate([values.counters for _, values in parts])
    absurd = _drop_absurd(gauges, first.gauge_names) + _drop_absurd(counters, first.counter_names)
    return Chunk(
        group=first.group,
        gauge_names=first.gauge_names,
        counter_names=first.counter_names,
        rows=np.concatenate([values.block.rows for _, values in parts]),
        series=np.concatenate([values.block.series for _, values in parts]),
        node=np.array([arrival.node for arrival in arrivals], dtype=np.int32)[report],
        report=report,
        time_ms=np.array([arrival.time_ms for arrival in arrivals], dtype=np.int64)[report],
        interval_s=np.repeat([values.block.interval_s for _, values in parts], sizes),
        gauges=gauges,
        counters=counters,
        reasons=_join_reasons([values for _, values in parts], sizes),
        absurd=absurd,
    )


def _join_reasons(parts: Iterable[Values], sizes: Sequence[int]) -> NDArray[np.uint8]:
    if all(values.reasons is None for values in parts):
        return np.zeros(sum(sizes), dtype=np.uint8)
    return np.concatenate([
        values.reasons if values.reasons is not None else np.zeros(len(values.block.rows), dtype=np.uint8)
        for values in parts
    ])


def _drop_absurd(values: NDArray[np.floating], names: tuple[str, ...]) -> int:
    """Infinities and values outside the metric table's bounds become NaN, in place; how many there were."""
    if not names:
        return 0
    low, high = _bounds(names)
    with np.errstate(invalid="ignore"):
        bad = (values < low) | (values > high) | np.isinf(values)
    count = int(np.count_nonzero(bad))
    if count:
        values[bad] = np.nan
    return count


@lru_cache(maxsize=256)
def _bounds(names: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (
        np.array([BY_NAME[name].low for name in names]),
        np.array([BY_NAME[name].high for name in names]),
    )


@lru_cache(maxsize=256)
def columns(names: tuple[str, ...]) -> NDArray[np.intp]:
    """Columns of the fleet's arrays, by metric name."""
    return columns_of(names)
