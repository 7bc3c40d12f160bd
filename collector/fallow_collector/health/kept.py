"""Which conditions the state file has, by rule and row of the fleet. Unix milliseconds; 0: it does not stand."""

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


class Kept:
    def __init__(self) -> None:
        self._since_ms: dict[str, NDArray[np.int64]] = {}

    def take(self, place: Place) -> None:
        """The state has it."""
        self._grown(place.rule, place.row + 1)[place.row] = place.since_ms

    def changes(self, standing: Mapping[str, NDArray[np.int64]], alive: NDArray[np.bool_]) -> list[Place]:
        """At most ROWS_AT_ONCE of those that the state has otherwise; they count as kept from now.

        standing: since when, by rule, int64[n]; what stands of a row that is not alive is over.
        """
        found: list[Place] = []
        for rule, since_ms in standing.items():
            wanted = np.where(alive[: len(since_ms)], since_ms, 0)
            kept = self._grown(rule, len(wanted))
            changed = np.flatnonzero(wanted != kept[: len(wanted)])[: ROWS_AT_ONCE - len(found)]
            kept[changed] = wanted[changed]
            found += map(Place, [rule] * len(changed), changed.tolist(), wanted[changed].tolist())
        return found

    def put_back(self, places: Iterable[Place]) -> None:
        """They could not be kept."""
        for place in places:
            self._since_ms[place.rule][place.row] = _UNKNOWN_MS

    def _grown(self, rule: str, count: int) -> NDArray[np.int64]:
        known = self._since_ms.get(rule, np.zeros(0, dtype=np.int64))
        if len(known) < count:
            known = np.concatenate([known, np.zeros(count - len(known), dtype=np.int64)])
        self._since_ms[rule] = known
        return known
