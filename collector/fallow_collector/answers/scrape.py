"""Devices as Prometheus text, made in pieces: 80,000 devices are some two million lines."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle import phase
from fallow_collector.idle.assess import LIVE
from fallow_collector.view import Snapshot
from fallow_proto.metrics import COLUMN, METRICS

_CHUNK = 2000
"""Lines that are made in one turn of the loop."""


def device_metrics(
    fleet: Fleet, snapshot: Snapshot, rows: NDArray[np.intp], escape: Callable[[str], str]
) -> Iterator[bytes]:
    """Prometheus text of these devices, family by family as the format demands; what is not known is left out."""
    labels = [_labels(fleet, int(row), escape) for row in rows]
    age = snapshot.age_s[rows]
    yield from _family("device_age_seconds", "Age of the newest reading.", "gauge", labels, age)
    words = [f'{text[:-1]},phase="{phase.PHASES[p]}"}}' for text, p in
             zip(labels, snapshot.assessment.phase[rows], strict=True)]
    yield from _family("device_phase", "1 for the phase that the device is in.", "gauge", words, np.ones(len(rows)))
    live = snapshot.assessment.freshness[rows] == LIVE
    for metric in METRICS:
        column = COLUMN[metric.name]
        counts = live & (fleet.good_until_ms[rows, column] >= fleet.last_ms[rows])
        values = np.where(counts, fleet.values[rows, column], np.nan)
        yield from _family(f"device_{metric.name}", metric.help, str(metric.kind), labels, values)


def _labels(fleet: Fleet, row: int, escape: Callable[[str], str]) -> str:
    tags = fleet.series[fleet.series_of(row)]
    return "{" + ",".join(
        f'{name}="{escape(value)}"' for name, value in
        (("site", tags.site), ("node", tags.node), ("uuid", tags.uuid), ("vendor", tags.vendor),
         ("model", tags.model), ("class", tags.device_class)) if value
    ) + "}"


def _family(
    name: str, help_text: str, kind: str, labels: Sequence[str], values: NDArray[np.float64]
) -> Iterator[bytes]:
    known = np.flatnonzero(np.isfinite(values)).tolist()
    if not known:
        return
    yield f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n".encode()
    numbers = values.tolist()
    for start in range(0, len(known), _CHUNK):
        yield "".join([f"{name}{labels[i]} {numbers[i]!r}\n" for i in known[start : start + _CHUNK]]).encode()
