"""What is on offer: the devices of one class, column by column, as a snapshot shows them."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit.members import Members
from fallow_collector.fit.places import Places
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.peaks import peaks
from fallow_collector.fleet.roster import GroupKey
from fallow_collector.idle import phase
from fallow_collector.idle.assess import Assessment
from fallow_collector.idle.reasons import BIT, primary
from fallow_proto.metrics import COLUMN
from fallow_proto.states import Allocation, Phase

IDLE = phase.PHASES.index(Phase.IDLE)
FREE = phase.ALLOCATIONS.index(Allocation.FREE)

_TAKEN = {
    Allocation.RESERVED: (Phase.RESERVED, "reserved"),
    Allocation.LEASED: (Phase.LEASED, "leased"),
    Allocation.RELEASING: (Phase.RELEASING, "releasing"),
    Allocation.UNKNOWN: (Phase.UNKNOWN, "ledger_stale"),
}
"""Phase and first reason of an idle device that somebody took."""
_PHASE_TAKEN, _FIRST_TAKEN = np.zeros((2, len(phase.ALLOCATIONS)), dtype=np.uint8)
for _word, (_phase, _reason) in _TAKEN.items():
    _PHASE_TAKEN[phase.ALLOCATIONS.index(_word)] = phase.PHASES.index(_phase)
    _FIRST_TAKEN[phase.ALLOCATIONS.index(_word)] = list(BIT).index(_reason)


class Judged(Protocol):
    """What of a snapshot an offer is made of; rows are the fleet's. counted: bool, no parent beside its partitions."""

    @property
    def assessment(self) -> Assessment: ...

    @property
    def age_s(self) -> NDArray[np.float64]: ...

    @property
    def counted(self) -> NDArray[np.bool_]: ...


class Measures:
    """What n devices can do, and what counted at their newest reading: float64[n], NaN not known; gathered when it is
    first asked for, since most requests ask for none of it."""

    def __init__(self, fleet: Fleet, rows: NDArray[np.intp]) -> None:
        self._fleet = fleet
        self._rows = rows
        self._peaks: dict[str, NDArray[np.float64]] = {}

    @cached_property
    def memory_limit_bytes(self) -> NDArray[np.float64]:
        return self._counting("memory_limit_bytes")

    @cached_property
    def free_memory_bytes(self) -> NDArray[np.float64]:
        return self.memory_limit_bytes - self._counting("memory_usage_bytes")

    @cached_property
    def power_headroom_watts(self) -> NDArray[np.float64]:
        return self._counting("power_limit_watts") - self._counting("power_watts")

    def peak_flops(self, precision: str) -> NDArray[np.float64]:
        """Dense, in FLOP/s (int8: OP/s)."""
        found = self._peaks.get(precision)
        if found is None:
            found = self._peaks[precision] = peaks(self._fleet, self._rows, precision)
        return found

    def _counting(self, name: str) -> NDArray[np.float64]:
        fleet, rows, column = self._fleet, self._rows, COLUMN[name]
        counts = fleet.good_until_ms[:, column][rows] >= fleet.last_ms[rows]
        return np.where(counts, fleet.values[:, column][rows], np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """n devices in order of node name and uuid: those of the class that count, a parent not beside its partitions.

    at: intp[n], positions in members. rows: intp[n], of the fleet. group: int32[n], position in members.groups. phase,
    health: uint8[n], positions in idle.phase's tuples. first: uint8[n], position in REASONS of what keeps it from being
    idle, len(REASONS): nothing does. low: bool[n]. age_s: float64[n]. ledger: int16[n].
    """

    members: Members
    at: NDArray[np.intp]
    rows: NDArray[np.intp]
    group: NDArray[np.int32]
    phase: NDArray[np.uint8]
    health: NDArray[np.uint8]
    first: NDArray[np.uint8]
    low: NDArray[np.bool_]
    age_s: NDArray[np.float64]
    ledger: NDArray[np.int16]
    measures: Measures
    _places: dict[str, Places] = field(default_factory=dict)  # of these devices, by the words of Request.same

    @property
    def groups(self) -> tuple[GroupKey, ...]:
        return self.members.groups

    @property
    def node(self) -> NDArray[np.int32]:
        return self.members.node[self.at]

    def places(self, same: str) -> Places:
        found = self._places.get(same)
        if found is None:
            of, domain = self.members.places(same)
            found = self._places[same] = Places(of[self.at], domain)
        return found


def offer(
    fleet: Fleet, members: Members, snapshot: Judged, device_class: str, sites: tuple[str, ...] = ()
) -> Offer:
    """sites: of which devices are on offer, empty: all."""
    of_class = np.array([
        key.device_class == device_class and (not sites or key.site in sites) for key in members.groups
    ], dtype=np.bool_)
    at = np.flatnonzero(snapshot.counted[members.rows] & of_class[members.group])
    rows = members.rows[at]
    assessed = snapshot.assessment
    return Offer(
        members=members, at=at, rows=rows, group=members.group[at],
        phase=assessed.phase[rows], health=assessed.health[rows],
        first=primary(assessed.reasons[rows]).astype(np.uint8), low=assessed.low[rows],
        age_s=snapshot.age_s[rows], ledger=fleet.ledger[rows], measures=Measures(fleet, rows),
    )


def after(offer: Offer, owned: NDArray[np.uint8]) -> Offer:
    """The offer without what was taken since its snapshot. owned: uint8[n], positions in phase.ALLOCATIONS.

    What was let go since then stays taken: it has to be seen clean first.
    """
    taken = (owned != FREE) & (offer.phase == IDLE)
    if not taken.any():
        return offer
    return replace(
        offer,
        phase=np.where(taken, _PHASE_TAKEN[owned], offer.phase),
        first=np.where(taken, _FIRST_TAKEN[owned], offer.first),
    )
