"""The fleet at a moment, judged: what every answer is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.roster import NOBODY
from fallow_collector.idle import phase
from fallow_collector.idle.assess import Assessment, Presence
from fallow_collector.idle.engine import Engine
from fallow_proto.states import Allocation

FREE = phase.ALLOCATIONS.index(Allocation.FREE)
FRESH_S = 0.05
"""How old a snapshot may be when it is used for another answer: a micro-batch's length."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Rows are the fleet's, `counted` the ones that count: in use, and no parent beside its partitions.

    now: the collector's monotonic clock; as_of: unix seconds. age_s: float64[n]. since: float64[n], unix seconds.
    """

    now: float
    as_of: float
    revision: int
    assessment: Assessment
    age_s: NDArray[np.float64]
    since: NDArray[np.float64]
    counted: NDArray[np.bool_]


class View:
    """Makes snapshots, and numbers the changes between them. clocks: monotonic and unix seconds.

    prepare: called with both before each snapshot is made, to bring up to date what time alone changes in the fleet.
    """

    def __init__(
        self, fleet: Fleet, engine: Engine, monotonic: Callable[[], float], wall: Callable[[], float],
        prepare: Sequence[Callable[[float, float], None]] = (),
    ) -> None:
        self.epoch = uuid4().hex
        self._fleet = fleet
        self._engine = engine
        self._monotonic = monotonic
        self._wall = wall
        self._prepare = prepare
        self._phase = np.zeros(0, dtype=np.uint8)
        self._since = np.zeros(0, dtype=np.float64)
        self._last: Snapshot | None = None
        self._revision = 0

    def now(self) -> Snapshot:
        now = self._monotonic()
        last = self._last
        if last is not None and now - last.now < FRESH_S and len(last.age_s) == self._fleet.count:
            return last
        self._last = self._make(now, self._wall())
        return self._last

    def refresh(self) -> Snapshot:
        """A snapshot that sees what was changed just now."""
        self._last = None
        return self.now()

    def _make(self, now: float, wall: float) -> Snapshot:
        for prepare in self._prepare:
            prepare(now, wall)
        fleet, count = self._fleet, self._fleet.count
        age_s = fleet.age_s(now)
        owned = fleet.owned()
        assessment = self._engine.assess(count, Presence(
            age_s, fleet.interval_s[:count], fleet.present[:count], owned, fleet.service[:count], self._shared(owned),
        ))
        self._note_changes(assessment.phase, wall)
        return Snapshot(
            now, wall, self._revision, assessment, age_s, self._since.copy(), fleet.alive[:count] & ~self._split()
        )

    def _shared(self, owned: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Hosts of which somebody holds an accelerator: whoever does needs the host as well."""
        owner, count = self._fleet.owner, self._fleet.count
        host = self._fleet.host[:count]
        held = np.zeros(len(self._fleet.nodes) + 1, dtype=np.bool_)  # the last: nobody's
        held[owner[:count][(owned != FREE) & ~host]] = True
        return host & held[owner[:count]]

    def _split(self) -> NDArray[np.bool_]:
        """Devices that are there as their partitions, and must not be counted beside them."""
        count = self._fleet.count
        split = np.zeros(count, dtype=np.bool_)
        parents = self._fleet.parent[:count][self._fleet.present[:count]]
        split[parents[parents != NOBODY]] = True
        return split

    def _note_changes(self, phases: NDArray[np.uint8], wall: float) -> None:
        more = len(phases) - len(self._phase)
        before = np.concatenate([self._phase, np.full(more, len(phase.PHASES), dtype=np.uint8)])
        changed = before != phases
        self._since = np.where(changed, wall, np.concatenate([self._since, np.zeros(more)]))
        self._phase = phases
        self._revision += bool(changed.any())
