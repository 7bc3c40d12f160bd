"""The one total table from the five axes to the phase; the first row that matches wins.

Axes are small integers here, in the order of the tuples below, so that the table is an array and looking up the phase
of a whole fleet is one indexing.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_proto.states import Allocation, Freshness, Health, Occupancy, Phase, Service

ALLOCATIONS = tuple(Allocation)
FRESHNESSES = tuple(Freshness)
HEALTHS = tuple(Health)
SERVICES = tuple(Service)
PHASES = tuple(Phase)

# Occupancy as it is judged: work that nobody claims has unmanaged_s to prove to be a passing thing, unless it ended
# a confirmed idleness, which it does at once.
UNKNOWN, BRIEFLY_ACTIVE, ACTIVE, BRIEFLY_RESIDENT, RESIDENT, QUIET, CONFIRMED = range(7)
OCCUPANCIES = (
    Occupancy.UNKNOWN, Occupancy.ACTIVE, Occupancy.ACTIVE, Occupancy.RESIDENT, Occupancy.RESIDENT,
    Occupancy.QUIET, Occupancy.CONFIRMED,
)


class Row(NamedTuple):
    """Empty means any."""

    phase: Phase
    allocation: tuple[Allocation, ...] = ()
    freshness: tuple[Freshness, ...] = ()
    health: tuple[Health, ...] = ()
    service: tuple[Service, ...] = ()
    occupancy: tuple[int, ...] = ()


TABLE: tuple[Row, ...] = (
    # A commitment outlives silence and faults.
    Row(Phase.LEASED, allocation=(Allocation.LEASED,)),
    Row(Phase.RESERVED, allocation=(Allocation.RESERVED,)),
    Row(Phase.RELEASING, allocation=(Allocation.RELEASING,)),
    Row(Phase.ABSENT, freshness=(Freshness.ABSENT,)),
    Row(Phase.UNKNOWN, freshness=(Freshness.STALE, Freshness.LOST)),
    Row(Phase.UNKNOWN, allocation=(Allocation.UNKNOWN,)),
    Row(Phase.FAULTY, health=(Health.FAILED,)),
    Row(Phase.UNKNOWN, health=(Health.UNKNOWN,)),
    Row(Phase.UNKNOWN, occupancy=(UNKNOWN,)),
    Row(Phase.MAINTENANCE, service=(Service.MAINTENANCE,)),
    Row(Phase.DRAINING, service=(Service.DRAINING,)),
    Row(Phase.CORDONED, service=(Service.CORDONED,)),
    Row(Phase.UNMANAGED, occupancy=(ACTIVE, RESIDENT)),
    Row(Phase.VERIFYING, occupancy=(BRIEFLY_ACTIVE, BRIEFLY_RESIDENT, QUIET)),
    Row(Phase.IDLE, occupancy=(CONFIRMED,)),
)


def _build() -> NDArray[np.uint8]:
    lookup = np.full(
        (len(ALLOCATIONS), len(FRESHNESSES), len(HEALTHS), len(SERVICES), len(OCCUPANCIES)), 255, dtype=np.uint8
    )
    for row in reversed(TABLE):
        lookup[np.ix_(
            [i for i, a in enumerate(ALLOCATIONS) if a in row.allocation or not row.allocation],
            [i for i, f in enumerate(FRESHNESSES) if f in row.freshness or not row.freshness],
            [i for i, h in enumerate(HEALTHS) if h in row.health or not row.health],
            [i for i, s in enumerate(SERVICES) if s in row.service or not row.service],
            [i for i in range(len(OCCUPANCIES)) if i in row.occupancy or not row.occupancy],
        )] = PHASES.index(row.phase)
    assert not (lookup == 255).any(), "the table of phases is not total"
    return lookup


LOOKUP = _build()
"""uint8[allocation, freshness, health, service, occupancy] -> position in PHASES."""
