"""Batches for tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fallow_collector.stores.store import Batch, Rows, Series, Source, Span

T0 = 1_795_000_000_000
"""Unix milliseconds."""


def series(uuid: str = "GPU-1", **changes: str) -> Series:
    tags = {
        "site": "default", "node": "n1", "uuid": uuid,
        "vendor": "nvidia", "model": "H100", "device_class": "intelligent",
    }
    return Series(**(tags | changes))


def rows(
    gauges: Any,
    gauge_names: Sequence[str] = ("power_watts",),
    counters: Any = (),
    counter_names: Sequence[str] = (),
    time_ms: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
) -> Rows:
    """One row a second of one series, unless said otherwise."""
    gauges = np.array(gauges, np.float32)
    n = len(gauges)
    return Rows(
        time_ms=np.array(time_ms if time_ms is not None else [T0 + 1000 * i for i in range(n)], np.int64),
        series=np.array(positions if positions is not None else [0] * n, np.int32),
        gauge_names=tuple(gauge_names),
        gauges=gauges.reshape(n, len(gauge_names)),
        counter_names=tuple(counter_names),
        counters=np.array(counters, np.float64).reshape(n, len(counter_names)),
    )


def span(lo: int, hi: int | None = None, epoch: str = "e1", node: str = "n1") -> Span:
    return Span(Source(node, epoch), lo, lo if hi is None else hi)


def batch(block: Rows, *spans: Span, devices: Sequence[Series] = (series(),)) -> Batch:
    return Batch(rows=[block], spans=spans or (span(1),), series=devices)
