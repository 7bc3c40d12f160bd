"""The fleet at a moment, judged: what every answer is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.roster import NOBODY
from fallow_collector.idle import phase
from fallow_collector.idle.assess import Assessment, Presence
from fallow_collector.idle.engine import Engine
from fallow_collector.watch.shown import OF_JUDGED, Columns, Records, differing, grown, none, records
from fallow_proto.states import Allocation

FREE = phase.ALLOCATIONS.index(Allocation.FREE)
FRESH_S = 0.05
"""How old a snapshot may be when it is used for another answer: a micro-batch's length."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Rows are the fleet's, `counted` the ones that count: in use, and no parent beside its partitions.

    now: the collector's monotonic clock; as_of: unix seconds. age_s: float64[n]. since: float64[n], unix seconds.
    shown: what watchers are shown, n rows. changed: intp[m], rows that differ from the snapshot before, ascending;
    before: SHOWN[m], what these were. No row changes without a new revision.
    """

    now: float
    as_of: float
    revision: int
    assessment: Assessment
    age_s: NDArray[np.float64]
    since: NDArray[np.float64]
    counted: NDArray[np.bool_]
    shown: Columns
    changed: NDArray[np.intp]
    before: Records


class View:
    """Makes snapshots, and numbers the changes between them. clocks: monotonic and unix seconds.

    prepare: called with both before each snapshot is made, to bring up to date what time alone changes in the fleet.
    """

    def __init__(
        self, fleet: Fleet, engine: Engine, monotonic: Callable[[], float], wall: Callable[[], float],
        prepare: Sequence[Callable[[float, float], None]] = (),
    ) -> None:
        self.epoch = uuid4().hex
        self.revision = 0
        self.shown = none()  # at that revision
        self._fleet = fleet
        self._engine = engine
        self._monotonic = monotonic
        self._wall = wall
        self._prepare = prepare
        self._followers: list[Callable[[Snapshot], None]] = []
        self._last: Snapshot | None = None

    def follow(self, follower: Callable[[Snapshot], None]) -> None:
        """Call it with every snapshot from now on, as soon as it is made."""
        self._followers.append(follower)

    def unfollow(self, follower: Callable[[Snapshot], None]) -> None:
        self._followers.remove(follower)

    def resume(self, revision: int, shown: Columns) -> None:
        """Number the changes on from what was shown at a revision."""
        self.revision, self.shown, self._last = revision, shown, None

    def now(self) -> Snapshot:
        now = self._monotonic()
        last = self._last
        if last is not None and now - last.now < FRESH_S and len(last.age_s) == self._fleet.count:
            return last
        return self._make(now, self._wall())

    def refresh(self) -> Snapshot:
        """A snapshot that sees what was changed just now."""
        return self._make(self._monotonic(), self._wall())

    def prepare(self) -> None:
        """Bring the fleet up to date without judging it."""
        self._prepare_at(self._monotonic(), self._wall())

    def _prepare_at(self, now: float, wall: float) -> None:
        for prepare in self._prepare:
            prepare(now, wall)

    def _make(self, now: float, wall: float) -> Snapshot:
        self._prepare_at(now, wall)
        fleet, count = self._fleet, self._fleet.count
        age_s = fleet.age_s(now)
        owned = self._with_family(fleet.owned())
        assessment = self._engine.assess(count, Presence(
            age_s, fleet.interval_s[:count], fleet.present[:count], owned, fleet.service[:count], self._shared(owned),
            fleet.verdict[:count], fleet.foreign[:count],
        ))
        before, shown = self._show(assessment, owned, wall)
        changed = differing(before, shown)
        self.revision += bool(len(changed))
        self.shown = shown
        snapshot = self._last = Snapshot(
            now, wall, self.revision, assessment, age_s, shown["since"], fleet.alive[:count] & ~self._split(),
            shown, changed, records(before, changed),
        )
        for follower in self._followers:
            follower(snapshot)
        return snapshot

    def _with_family(self, owned: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Who holds a device holds its partitions, and whoever holds a partition that is gone still holds a part of
        its parent."""
        parents, present = self._fleet.parent[: len(owned)], self._fleet.present[: len(owned)]
        parts = np.flatnonzero(parents != NOBODY)
        if not len(parts):
            return owned
        all_owned = owned.copy()
        of_parents = owned[parents[parts]]
        inherit = (owned[parts] == FREE) & (of_parents != FREE)
        all_owned[parts[inherit]] = of_parents[inherit]
        gone = parts[(owned[parts] != FREE) & ~present[parts]]
        gone = gone[owned[parents[gone]] == FREE]
        all_owned[parents[gone]] = owned[gone]
        return all_owned

    def _shared(self, owned: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Hosts of which somebody holds an accelerator: whoever does needs the host as well."""
        owner, count = self._fleet.owner, self._fleet.count
        host = self._fleet.host[:count]
        held = np.zeros(len(self._fleet.nodes) + 1, dtype=np.bool_)  # the last: nobody's
        held[owner[:count][(owned != FREE) & ~host & self._fleet.alive[:count]]] = True
        return host & held[owner[:count]]

    def _split(self) -> NDArray[np.bool_]:
        """Devices that are there as their partitions, and must not be counted beside them."""
        count = self._fleet.count
        split = np.zeros(count, dtype=np.bool_)
        parents = self._fleet.parent[:count][self._fleet.present[:count]]
        split[parents[parents != NOBODY]] = True
        return split

    def _show(self, assessment: Assessment, owned: NDArray[np.uint8], wall: float) -> tuple[Columns, Columns]:
        """What was shown last, and what is now, of the same rows."""
        fleet, count = self._fleet, self._fleet.count
        before, alive = grown(self.shown, count), fleet.alive[:count]
        same_phase = (before["phase"] == assessment.phase) & before["alive"]
        shown: dict[str, NDArray[Any]] = {
            "since": np.where(same_phase, before["since"], wall),
            "occupancy": OF_JUDGED[assessment.occupancy],
            "allocation": owned,
            "alive": alive.copy(),
            **{name: getattr(assessment, name) for name in ("freshness", "health", "phase", "reasons")},
            **{name: getattr(fleet, name)[:count].copy() for name in (
                "owner", "group", "ledger", "service", "allocated_at",
            )},
            "low": assessment.low.copy(),
        }
        if not alive.all():
            shown = {
                name: np.where(alive, column, before[name]) if name != "alive" else column
                for name, column in shown.items()
            }
        return before, shown
