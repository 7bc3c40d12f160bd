"""The table `device`: every device that counts, and of those that are cut into partitions the whole, which has heat and
faults of its own."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fallow_collector.alerts.facts import Facts
from fallow_collector.answers.figures import Figures
from fallow_collector.facts.columns import Column, facts, numbers, truths, words
from fallow_collector.facts.since import PhaseClock
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle import phase
from fallow_collector.idle.assess import LIVE
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.reasons import BIT
from fallow_collector.idle.state import BIT as WITNESS
from fallow_collector.idle.state import FloorSource
from fallow_collector.view import Snapshot
from fallow_collector.watch.shown import OCCUPANCIES
from fallow_proto.metrics import COLUMN
from fallow_proto.states import Allocation, Confidence

REASON = "reason_"
_LEASED = phase.ALLOCATIONS.index(Allocation.LEASED)
_CONFIDENCES = (Confidence.HIGH, Confidence.LOW)
_STATES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "phase": ("phase", phase.PHASES),
    "freshness": ("freshness", phase.FRESHNESSES),
    "health": ("health", phase.HEALTHS),
    "occupancy": ("occupancy", OCCUPANCIES),
    "allocation": ("allocation", phase.ALLOCATIONS),
    "service": ("service", phase.SERVICES),
    "confidence": ("low", _CONFIDENCES),
}
"""Column → column of what watchers are shown, and its words."""


class Devices:
    """Keeps what only changes when devices come or go. Not thread-safe."""

    def __init__(self, fleet: Fleet, engine: Engine, phases: PhaseClock) -> None:
        self._fleet = fleet
        self._engine = engine
        self._phases = phases
        self._known_at = -1
        self._uuids = pa.array([], pa.string())
        self._ecc = np.zeros(0, dtype=np.int8)

    def take(self, snapshot: Snapshot, figures: Figures, wanted: Collection[str]) -> Facts:
        """figures: of all devices."""
        self._know()
        return facts(len(figures.rows), {name: self._column(name, snapshot, figures) for name in wanted})

    def _column(self, name: str, snapshot: Snapshot, figures: Figures) -> Column:
        rows = figures.rows
        if name in COLUMN:
            return numbers(self._values(name, rows, figures.assessed.freshness == LIVE))
        if name.startswith(REASON):
            reasons, bit = figures.assessed.reasons, BIT[name.removeprefix(REASON)]
            return lambda: pa.array((reasons & bit) != 0)
        if name in _STATES:
            column, of = _STATES[name]
            return _later(snapshot.shown[column], rows, of)
        match name:
            case "uuid":
                uuids = self._uuids
                return lambda: uuids.take(pa.array(rows))
            case "node":
                return _later(snapshot.shown["owner"], rows, [node.name for node in self._fleet.nodes])
            case "site":
                return _later(snapshot.shown["owner"], rows, [node.site for node in self._fleet.nodes])
            case "vendor" | "model":
                return _later(snapshot.shown["group"], rows, [getattr(key, name) for key in self._fleet.groups])
            case "class":
                return _later(snapshot.shown["group"], rows, [key.device_class for key in self._fleet.groups])
            case "ledger":
                return _later(snapshot.shown["ledger"], rows, list(self._fleet.ledgers))
            case "partitioned":
                counted = snapshot.counted
                return lambda: pa.array(~counted[rows])
            case "age_s":
                return numbers(snapshot.age_s[rows])
            case "phase_s":
                return numbers(self._phases.seconds(snapshot, rows))
            case "ecc_enabled":
                ecc = self._ecc[rows]
                return truths(ecc == 1, ecc >= 0)
            case "learned":
                return self._learned(rows)
            case "leased_idle":
                leased = snapshot.shown["allocation"][rows] == _LEASED
                return truths(figures.reclaimable, ~leased | (figures.assessed.freshness == LIVE))
        raise KeyError(f"BUG: table device has no maker of column {name!r}")

    def _values(self, metric: str, rows: NDArray[np.intp], live: NDArray[np.bool_]) -> NDArray[np.float64]:
        """What counts now: of a silent device nothing is known, whatever it said last."""
        fleet, at = self._fleet, COLUMN[metric]
        good = fleet.good_until_ms[:, at][rows] >= fleet.last_ms[rows]
        return np.where(good & live, fleet.values[:, at][rows], np.nan)

    def _learned(self, rows: NDArray[np.intp]) -> Column:
        """Only what draws power that can be read has a floor to learn."""
        source = self._engine.state["floor_source"][rows]
        reads_power = (self._engine.state["ever_read"][rows] & WITNESS["power_watts"]) != 0
        return truths(
            np.isin(source, (FloorSource.LEARNED, FloorSource.ACCEPTED)), reads_power & ~self._fleet.host[rows]
        )

    def _know(self) -> None:
        fleet = self._fleet
        if self._known_at == fleet.who_revision:
            return
        self._known_at = fleet.who_revision
        self._uuids = pa.array([identity.uuid for identity in fleet.identities], pa.string())
        modes = {identity.mode for identity in fleet.identities}
        ecc_of = {mode: ecc(mode) for mode in modes}
        self._ecc = np.array([ecc_of[identity.mode] for identity in fleet.identities], dtype=np.int8)


def ecc(mode: str) -> int:
    """Of Identity.mode, such as "mig=0 ecc=1": 1 memory corrects errors, 0 it does not, -1 not known."""
    for word in mode.split():
        name, _, value = word.partition("=")
        if name == "ecc" and value in ("0", "1"):
            return int(value)
    return -1


def _later(codes: NDArray[Any], rows: NDArray[np.intp], names: Sequence[str]) -> Column:
    """codes: of a snapshot, which never change."""
    return lambda: words(codes[rows].astype(np.int32), names)()
