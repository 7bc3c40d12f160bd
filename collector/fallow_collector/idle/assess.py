"""From what was judged at the newest reading to what may be said now: silence and absence come in here only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fallow_collector.idle import phase
from fallow_collector.idle.reasons import BIT as REASON
from fallow_collector.idle.reasons import NONE, where
from fallow_proto.states import Allocation, Freshness, Health, Service

LIVE, STALE, LOST, ABSENT = map(
    phase.FRESHNESSES.index, (Freshness.LIVE, Freshness.STALE, Freshness.LOST, Freshness.ABSENT)
)
LOST_INTERVALS = 10
"""Of readings: however slowly a node reads, it is not lost between two of them."""

UNKNOWN = phase.HEALTHS.index(Health.UNKNOWN)
CORDONED = phase.SERVICES.index(Service.CORDONED)

_ALLOCATION_REASON = {
    Allocation.FREE: NONE,
    Allocation.RESERVED: REASON["reserved"],
    Allocation.LEASED: REASON["leased"],
    Allocation.RELEASING: REASON["releasing"],
    Allocation.UNKNOWN: REASON["ledger_stale"],
}
_SERVICE_REASON = {
    Service.IN_SERVICE: NONE,
    Service.CORDONED: REASON["cordoned"],
    Service.DRAINING: REASON["draining"],
    Service.MAINTENANCE: REASON["maintenance"],
}
_OF_ALLOCATION = np.array([_ALLOCATION_REASON[word] for word in phase.ALLOCATIONS], dtype=np.uint64)
_OF_VERDICT = np.array([NONE, *(REASON[name] for name in (
    "incident_degraded", "incident_failed", "incident_doubted"
))], dtype=np.uint64)
_OF_SERVICE = np.array([_SERVICE_REASON[word] for word in phase.SERVICES], dtype=np.uint64)
_HEALTH_BY_VERDICT = np.array([phase.HEALTHS.index(word) for word in (
    Health.OK, Health.DEGRADED, Health.FAILED, Health.OK
)], dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Presence:
    """What the fleet knows of n devices. age_s float64[n], of the newest reading, inf: none; interval_s float64[n],
    between readings; present bool[n], in its node's last Hello; allocation, service uint8[n], axes of phase.LOOKUP;
    shared bool[n], a host whose accelerators somebody holds; verdict uint8[n], health.verdict.Verdict; foreign bool[n],
    a process is on it that is not of the job that has it."""

    age_s: NDArray[np.float64]
    interval_s: NDArray[np.float64]
    present: NDArray[np.bool_]
    allocation: NDArray[np.uint8]
    service: NDArray[np.uint8]
    shared: NDArray[np.bool_]
    verdict: NDArray[np.uint8]
    foreign: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """The axes and the phase of n devices at one moment: positions in the tuples of `phase`, reasons as bits."""

    freshness: NDArray[np.uint8]
    health: NDArray[np.uint8]
    occupancy: NDArray[np.uint8]
    phase: NDArray[np.uint8]
    reasons: NDArray[np.uint64]
    low: NDArray[np.bool_]


def assess(
    stale_s: float | NDArray[np.float64], lost_s: float | NDArray[np.float64], state: NDArray[np.void],
    presence: Presence,
) -> Assessment:
    """stale_s, lost_s: for all n devices, or float64[n]; state: state.STATE[n]."""
    stale = np.maximum(stale_s, 3 * presence.interval_s)
    lost = np.maximum(lost_s, LOST_INTERVALS * presence.interval_s)
    freshness = np.select(
        [~presence.present, ~(presence.age_s <= lost), ~(presence.age_s <= stale)], [ABSENT, LOST, STALE], LIVE
    ).astype(np.uint8)
    live = freshness == LIVE
    health = np.where(live, _worse(state["health"], presence.verdict), UNKNOWN).astype(np.uint8)
    occupancy = np.where(live, state["occupancy"], phase.UNKNOWN).astype(np.uint8)
    service = np.where(presence.shared, np.maximum(presence.service, CORDONED), presence.service)
    of_silence = np.array([NONE, REASON["stale"], REASON["lost"], REASON["absent"]], dtype=np.uint64)[freshness]
    of_owners = (
        _OF_ALLOCATION[presence.allocation] | _OF_SERVICE[presence.service]
        | where(presence.shared, "accelerator_leased")
    )
    return Assessment(
        freshness=freshness,
        health=health,
        occupancy=occupancy,
        phase=phase.LOOKUP[presence.allocation, freshness, health, service, occupancy],
        reasons=np.where(live, state["reasons"] | where(presence.foreign, "foreign_process"), of_silence)
        | of_owners | _OF_VERDICT[presence.verdict],
        low=state["low"],
    )


def _worse(health: NDArray[np.uint8], verdict: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The driver's own word and that of the rules: the worse of both; what is not known stays so."""
    by_rules = _HEALTH_BY_VERDICT[verdict]
    return np.where(health == UNKNOWN, health, np.maximum(health, by_rules))
