"""What is on offer: the devices of one class, column by column, as a snapshot shows them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit.members import Members
from fallow_collector.fit.places import Places
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.roster import GroupKey
from fallow_collector.idle import phase
from fallow_collector.idle.reasons import BIT, primary
from fallow_collector.view import FREE, Snapshot
from fallow_proto.metrics import COLUMN
from fallow_proto.states import Allocation, Phase

IDLE = phase.PHASES.index(Phase.IDLE)

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


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """n devices in order of node name and uuid: those of the class that count, a parent not beside its partitions.

    at: intp[n], positions in members. rows: intp[n], of the fleet. group: int32[n], position in members.groups. phase,
    health: uint8[n], positions in idle.phase's tuples. first: uint8[n], position in REASONS of what keeps it from being
    idle, len(REASONS): nothing does. low: bool[n]. age_s, free_memory_bytes, memory_limit_bytes, power_headroom_watts:
    float64[n], NaN not known. ledger: int16[n].
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
    free_memory_bytes: NDArray[np.float64]
    memory_limit_bytes: NDArray[np.float64]
    power_headroom_watts: NDArray[np.float64]
    ledger: NDArray[np.int16]

    @property
    def groups(self) -> tuple[GroupKey, ...]:
        return self.members.groups

    @property
    def node(self) -> NDArray[np.int32]:
        return self.members.node[self.at]

    def places(self, same: str) -> Places:
        found = self.members.places[same]
        return Places(found.of[self.at], found.domain)


def offer(fleet: Fleet, members: Members, snapshot: Snapshot, device_class: str) -> Offer:
    of_class = np.array([key.device_class == device_class for key in members.groups], dtype=np.bool_)
    at = np.flatnonzero(snapshot.counted[members.rows] & of_class[members.group])
    rows = members.rows[at]
    assessed = snapshot.assessment
    limit = _counting(fleet, rows, "memory_limit_bytes")
    return Offer(
        members=members, at=at, rows=rows, group=members.group[at],
        phase=assessed.phase[rows], health=assessed.health[rows],
        first=primary(assessed.reasons[rows]).astype(np.uint8), low=assessed.low[rows],
        age_s=snapshot.age_s[rows],
        free_memory_bytes=limit - _counting(fleet, rows, "memory_usage_bytes"), memory_limit_bytes=limit,
        power_headroom_watts=_counting(fleet, rows, "power_limit_watts") - _counting(fleet, rows, "power_watts"),
        ledger=fleet.ledger[rows],
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


def _counting(fleet: Fleet, rows: NDArray[np.intp], name: str) -> NDArray[np.float64]:
    """Values that counted at each device's newest reading."""
    column = COLUMN[name]
    counts = fleet.good_until_ms[rows, column] >= fleet.last_ms[rows]
    return np.where(counts, fleet.values[rows, column], np.nan)
