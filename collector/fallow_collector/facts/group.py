"""The table `group`: capacity, as /api/v1/capacity counts it."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from fallow_collector.alerts.facts import Facts
from fallow_collector.answers.figures import Figures, ineffective
from fallow_collector.facts.columns import Column, facts, numbers, optional, texts
from fallow_collector.facts.recent import Recent
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle.capacity import CATEGORIES

_ABSENT, _IDLE = map(CATEGORIES.index, ("absent", "idle"))


class Groups:
    """Keeps what was idle in the last minutes, so take it regularly. Not thread-safe."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._idle = Recent()

    def take(self, figures: Figures, now: float, wanted: Collection[str]) -> Facts:
        """figures: of the devices that count; now: monotonic seconds."""
        many, kinds = len(self._fleet.groups), len(CATEGORIES)
        tally = np.bincount(figures.group * kinds + figures.category, minlength=many * kinds).reshape(many, kinds)
        self._idle.take(tally[:, _IDLE], now)
        there = np.flatnonzero(tally.sum(axis=1))
        return facts(len(there), {name: self._column(name, figures, tally, there, now) for name in wanted})

    def _column(
        self, name: str, figures: Figures, tally: NDArray[np.int64], there: NDArray[np.intp], now: float
    ) -> Column:
        keys = [self._fleet.groups[number] for number in there.tolist()]
        if name in CATEGORIES:
            return numbers(tally[there, CATEGORIES.index(name)])
        match name:
            case "class":
                return texts([key.device_class for key in keys])
            case "site" | "vendor" | "model" | "partition_profile":
                return texts([getattr(key, name) for key in keys])
            case "seen":
                return numbers(tally[there].sum(axis=1) - tally[there, _ABSENT])
            case "declared":
                return numbers(self._declared(figures)[there])
            case "undeclared":
                return numbers(tally[there].sum(axis=1) - self._declared(figures)[there])
            case "reclaimable":
                return numbers(self._tally(figures, figures.reclaimable)[there])
            case "ineffective_ratio":
                waste = ineffective(figures, figures.group, len(self._fleet.groups))
                return numbers(optional([waste[number].ratio for number in there.tolist()]))
            case "idle_highest_5m":
                return numbers(self._idle.highest(len(tally), now)[there])
        raise KeyError(f"BUG: table group has no maker of column {name!r}")

    def _declared(self, figures: Figures) -> NDArray[np.int64]:
        return self._tally(figures, self._fleet.declared[figures.rows])

    def _tally(self, figures: Figures, which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(figures.group[which], minlength=len(self._fleet.groups))
