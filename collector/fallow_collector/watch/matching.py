"""Which of the devices that are shown a watcher asked for."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fallow_collector.api.answers import Where
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle import phase
from fallow_collector.watch.shown import Shown

_OF_GROUP = ("site", "device_class", "vendor", "model")


class Filter:
    """Filters over what is shown. What they need of nodes and groups, which are only ever added, is looked up once."""

    def __init__(self, fleet: Fleet, where: Where) -> None:
        self._fleet = fleet
        self._where = where
        self._groups = np.zeros(0, dtype=np.bool_)
        self._nodes = np.zeros(0, dtype=np.bool_)
        self._phases = [i for i, word in enumerate(phase.PHASES) if word in where.phase]

    def __call__(self, shown: Shown) -> NDArray[np.bool_]:
        """bool[n]. A device that was retired matches nothing."""
        self._learn()
        where = self._where
        wanted: NDArray[np.bool_] = shown["alive"].copy()
        if any(getattr(where, name) for name in _OF_GROUP):
            wanted &= self._groups[shown["group"]]
        if where.node:
            wanted &= self._nodes[shown["owner"]]
        if where.phase:
            wanted &= np.isin(shown["phase"], self._phases)
        return wanted

    def _learn(self) -> None:
        self._groups = _extended(self._groups, self._fleet.groups, lambda group: all(
            not getattr(self._where, name) or getattr(group, name) in getattr(self._where, name) for name in _OF_GROUP
        ))
        self._nodes = _extended(self._nodes, self._fleet.nodes, lambda node: node.name in self._where.node)


def _extended(known: NDArray[np.bool_], all_of_them: Sequence[Any], fits: Callable[[Any], bool]) -> NDArray[np.bool_]:
    if len(known) == len(all_of_them):
        return known
    return np.array([*known.tolist(), *map(fits, all_of_them[len(known):])], dtype=np.bool_)
