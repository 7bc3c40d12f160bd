"""Which conditions the state file has, by rule and row of the fleet. Unix milliseconds; 0: it does not stand.

Few conditions stand, so only those are remembered: 52 rules over 80,000 devices would be 33 MB otherwise.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 2000
"""Conditions that are handed over in one turn, which holds up everything else: about 10 ms."""

_UNKNOWN_MS = -1


class Place(NamedTuple):
    rule: str
    row: int
    since_ms: int


class _Few(NamedTuple):
    """rows: ascending. since_ms: of each, never 0."""

    rows: NDArray[np.intp]
    since_ms: NDArray[np.int64]

    def spread(self, count: int) -> NDArray[np.int64]:
        """Of all rows: int64[count]."""
        found = np.zeros(count, dtype=np.int64)
        found[self.rows] = self.since_ms
        return found


def _few(since_ms: NDArray[np.int64]) -> _Few:
    rows = np.flatnonzero(since_ms)
    return _Few(rows, since_ms[rows])


_NONE = _few(np.zeros(0, dtype=np.int64))


class Kept:
    def __init__(self, places: Iterable[Place] = ()) -> None:
        """places: what the state has."""
        self._few: dict[str, _Few] = {}
        for rule, since_ms in _by_rule(places).items():
            self._set(rule, since_ms)

    def changes(self, standing: Mapping[str, NDArray[np.int64]], alive: NDArray[np.bool_]) -> list[Place]:
        """At most ROWS_AT_ONCE of those that the state has otherwise; they count as kept from now.

        standing: since when, by rule, int64[n]; what stands of a row that is not alive is over.
        """
        found: list[Place] = []
        for rule, since_ms in standing.items():
            rows = np.flatnonzero(since_ms)
            rows = rows[alive[rows]]
            kept = self._few.get(rule, _NONE)
            if np.array_equal(rows, kept.rows) and np.array_equal(since_ms[rows], kept.since_ms):
                continue
            wanted, had = _Few(rows, since_ms[rows]).spread(len(since_ms)), kept.spread(len(since_ms))
            changed = np.flatnonzero(wanted != had)[: ROWS_AT_ONCE - len(found)]
            had[changed] = wanted[changed]
            self._few[rule] = _few(had)
            found += map(Place, [rule] * len(changed), changed.tolist(), wanted[changed].tolist())
        return found

    def put_back(self, places: Iterable[Place]) -> None:
        """They could not be kept."""
        for rule, since_ms in _by_rule(places).items():
            self._set(rule, dict.fromkeys(since_ms, _UNKNOWN_MS))

    def _set(self, rule: str, since_ms: Mapping[int, int]) -> None:
        kept = self._few.get(rule, _NONE)
        had = kept.spread(1 + max(*since_ms, *kept.rows[-1:].tolist(), 0))
        had[list(since_ms)] = list(since_ms.values())
        self._few[rule] = _few(had)


def _by_rule(places: Iterable[Place]) -> Mapping[str, Mapping[int, int]]:
    found: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for place in places:
        found[place.rule][place.row] = place.since_ms
    return found
