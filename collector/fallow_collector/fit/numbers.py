"""The least change of a request's numbers that makes it fit."""

from collections.abc import Callable
from math import floor, isfinite

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit.asked import Asked, Change
from fallow_collector.fit.places import Ground


def count(asked: Asked) -> Change | None:
    largest, wanted = asked.ground.largest(asked.eligible), asked.request.count
    return Change(str(largest), largest, (wanted - largest) / wanted) if largest else None


def per_node(asked: Asked) -> Change | None:
    """Another number that divides the count, else any."""
    wanted, each = asked.request.count, asked.request.per_node
    places, free = asked.ground.places, asked.ground.free(asked.eligible)
    others = [
        other for other in range(1, min(wanted, int(free.max(initial=0))) + 1) if other != each and wanted % other == 0
    ]
    for other in (*sorted(others, key=lambda other: abs(other - each)), 0):
        then = int(Ground(places, other).room(free).max(initial=0))
        if then >= wanted:
            return Change(str(other), then, abs(other - each) / max(other, each))
    return None


def without_per_node(asked: Asked) -> int:
    """How many devices would fit if it did not matter how many are on a node."""
    return Ground(asked.ground.places, 0).largest(asked.eligible)


def threshold(field: str) -> Callable[[Asked], Change | None]:
    """Of a field that asks for at least so much: the highest value at which it fits, in whole units; else 0, at which
    what is not known does not matter either."""
    def change(asked: Asked) -> Change | None:
        values, wanted = _VALUES[field](asked), asked.without(field)
        known = wanted & np.isfinite(values)
        limit = _highest(values, known, asked.ground, asked.request.count)
        whole = max(0, floor(limit)) if isfinite(limit) else 0
        then = asked.ground.largest(known & (values >= whole) if whole else wanted)
        if then < asked.request.count:
            return None
        return Change(str(whole), then, 1 - whole / getattr(asked.request, field))

    return change


_VALUES: dict[str, Callable[[Asked], NDArray[np.float64]]] = {
    "free_memory_bytes": lambda asked: asked.offer.measures.free_memory_bytes,
    "power_headroom_watts": lambda asked: asked.offer.measures.power_headroom_watts,
    "peak_flops": lambda asked: asked.offer.measures.peak_flops(asked.request.precision),
}


def _highest(values: NDArray[np.float64], known: NDArray[np.bool_], ground: Ground, wanted: int) -> float:
    """The highest value of which enough known devices in one domain have at least as much; −inf: there is none."""
    place, found = ground.places.of[known], values[known]
    if ground.per_node:
        place, found = _kth_highest(place, found, ground.per_node)
    parts = wanted // (ground.per_node or 1)
    _, found = _kth_highest(ground.places.domain[place], found, parts)
    return float(found.max(initial=-np.inf))


def _kth_highest(
    key: NDArray[np.integer], values: NDArray[np.float64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The keys that occur k times or more, and the k-th highest value of each."""
    rank = np.empty(len(key), dtype=np.int64)
    rank[np.argsort(-values)] = np.arange(len(key))
    order = np.argsort(key.astype(np.int64) * len(key) + rank)
    ordered = key[order].astype(np.int64)
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    starts = starts[np.diff(starts, append=len(key)) >= k]
    return ordered[starts], values[order[starts + k - 1]]
