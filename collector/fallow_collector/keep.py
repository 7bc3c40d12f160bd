"""What the collector takes from its state file when it starts, and puts there as it changes: who was seen and declared,
and what was learned of each device.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.registry import Identity, Seen
from fallow_collector.idle.engine import Engine, Learned
from fallow_collector.idle.state import BIT, BaseSource, FloorSource
from fallow_collector.state import BaselineRow, SeenRow, State

ROWS_AT_ONCE = 2000
"""Rows that are taken out of the arrays in one turn, which holds up everything else: about 10 ms."""

RELEARNED_S = 1800.0
"""Clean readings after which a baseline is kept again although its results are the same: what a crash may cost."""

_RESULTS = ("floor_watts", "floor_source", "base_bytes", "base_source", "limit_watts", "ever_read")


class Keeper:
    """Knows what of the live arrays is in the state file."""

    def __init__(self, state: State, fleet: Fleet, engine: Engine) -> None:
        self._state = state
        self._fleet = fleet
        self._engine = engine
        self._kept = engine.state[:0].copy()

    def restore(self, now: float) -> int:
        """Take up what an earlier run kept; returns how many devices. now: monotonic seconds. Raises StateError."""
        baselines = {row.uuid: row for row in self._state.load_baselines()}
        self._fleet.restore((seen_of(row) for row in self._state.load_seen()), now)
        for row, identity in enumerate(self._fleet.identities):
            baseline = baselines.get(identity.uuid)
            if baseline is not None and baseline.key == identity.judged_under:
                self._engine.recall(row, learned_of(baseline))
        self._kept = self._engine.state[: self._fleet.count].copy()
        return self._fleet.count

    def changes(self) -> "Changes":
        """What is not in the state file as it is now, at most ROWS_AT_ONCE of each kind; it counts as kept from now."""
        devices = [row for row in list(self._fleet.changed)[:ROWS_AT_ONCE] if self._fleet.alive[row]]
        self._fleet.changed.difference_update(devices)
        baselines = self._changed_baselines()
        return Changes(
            devices, [row_of_seen(self._fleet.seen(row)) for row in devices],
            baselines, [self._baseline_of(row) for row in baselines],
        )

    def put_back(self, changes: "Changes") -> None:
        """They could not be kept."""
        self._fleet.changed.update(changes.devices)
        self._kept["clean_s"][changes.baselines] = -np.inf

    def _changed_baselines(self) -> list[int]:
        count = self._fleet.count
        live = self._engine.state[:count]
        known = len(self._kept)
        kept = self._kept if known == count else np.concatenate([self._kept, live[known:]])
        kept["clean_s"][known:] = -np.inf
        changed = np.flatnonzero(_differ(live, kept) & self._fleet.alive[:count])[:ROWS_AT_ONCE]
        kept[changed] = live[changed]
        self._kept = kept
        rows: list[int] = changed.tolist()
        return rows

    def _baseline_of(self, row: int) -> BaselineRow:
        identity = self._fleet.identities[row]
        return row_of_learned(self._engine.learned(row, identity.uuid, identity.judged_under))


class Changes(NamedTuple):
    devices: list[int]  # rows of the fleet
    seen: list[SeenRow]
    baselines: list[int]
    learned: list[BaselineRow]

    def save(self, state: State) -> None:
        """Blocks for a flush of the disk or two. Raises StateError."""
        if self.seen:
            state.save_seen(self.seen)
        if self.learned:
            state.save_baselines(self.learned)


def _differ(live: NDArray[np.void], kept: NDArray[np.void]) -> NDArray[np.bool_]:
    differ = np.abs(live["clean_s"] - kept["clean_s"]) >= RELEARNED_S
    for name in _RESULTS:
        both = live[name], kept[name]
        differ |= (both[0] != both[1]) & ~((both[0] != both[0]) & (both[1] != both[1]))  # NaN is like NaN
    result: NDArray[np.bool_] = differ & (live["ever_read"] != 0)
    return result


def seen_of(row: SeenRow) -> Seen:
    return Seen(
        identity=msgspec.json.decode(row.identity, type=Identity),
        node=row.node, site=row.site, present=bool(row.present), declared=bool(row.declared),
        declared_class=row.declared_class,
    )


def row_of_seen(seen: Seen) -> SeenRow:
    return SeenRow(
        uuid=seen.identity.uuid, node=seen.node, site=seen.site, present=seen.present, declared=seen.declared,
        declared_class=seen.declared_class, identity=msgspec.json.encode(seen.identity),
    )


def learned_of(row: BaselineRow) -> Learned:
    return Learned(
        uuid=row.uuid, key=row.key,
        floor_watts=_nan(row.floor_watts), floor_source=FloorSource[row.floor_source.upper()],
        limit_watts=_nan(row.limit_watts),
        base_bytes=_nan(row.base_memory_bytes), base_source=BaseSource[row.base_source.upper()],
        ever_read=int(sum(int(BIT[name]) for name in row.ever_read.split() if name in BIT)),
        clean_s=row.clean_s, fitted_s=row.fitted_s, histogram=row.histogram,
    )


def row_of_learned(learned: Learned) -> BaselineRow:
    return BaselineRow(
        uuid=learned.uuid, key=learned.key,
        floor_watts=_null(learned.floor_watts), floor_source=FloorSource(learned.floor_source).name.lower(),
        limit_watts=_null(learned.limit_watts),
        base_memory_bytes=_null(learned.base_bytes), base_source=BaseSource(learned.base_source).name.lower(),
        ever_read=" ".join(_names(learned.ever_read)),
        clean_s=learned.clean_s, fitted_s=learned.fitted_s, histogram=learned.histogram,
    )


def _names(bits: int) -> Sequence[str]:
    return [name for name, bit in BIT.items() if bits & int(bit)]


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value
