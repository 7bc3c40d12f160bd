"""What each device adds to the quantities of an answer: one row a device, whatever it is then summed by."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from fallow_collector.answers.numbers import known
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.peaks import peaks
from fallow_collector.idle import host, phase, waste
from fallow_collector.idle.assess import LIVE, Assessment
from fallow_collector.idle.capacity import CATEGORIES, categories
from fallow_collector.idle.engine import Engine
from fallow_collector.view import Snapshot
from fallow_proto import api
from fallow_proto.metrics import COLUMN
from fallow_proto.states import Allocation, Phase

IDLE, ABSENT, UNAVAILABLE = map(CATEGORIES.index, ("idle", "absent", "unavailable"))

_LEASED = phase.ALLOCATIONS.index(Allocation.LEASED)
_UNMANAGED = phase.PHASES.index(Phase.UNMANAGED)


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """n devices. rows: intp[n], of the fleet; group: int32[n], positions in fleet.groups.

    assessed: of n devices. category: uint8[n], positions in CATEGORIES. memory_bytes, free_bytes: float64[n], NaN
    unknown; idle_cores: float64[n], of live hosts, NaN of all others. peaks: by precision, float64[n]. reclaimable,
    resident (memory or processes and no work), without_work: bool[n], no device in two of them nor idle beside.
    """

    rows: NDArray[np.intp]
    group: NDArray[np.int32]
    assessed: Assessment
    category: NDArray[np.uint8]
    memory_bytes: NDArray[np.float64]
    free_bytes: NDArray[np.float64]
    idle_cores: NDArray[np.float64]
    peaks: dict[str, NDArray[np.float64]]
    reclaimable: NDArray[np.bool_]
    resident: NDArray[np.bool_]
    without_work: NDArray[np.bool_]

    @property
    def idle(self) -> NDArray[np.bool_]:
        idle: NDArray[np.bool_] = self.category == IDLE
        return idle

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Seen and not unavailable: what ineffective compute is a share of."""
        usable: NDArray[np.bool_] = (self.category != ABSENT) & (self.category != UNAVAILABLE)
        return usable


def figures(
    fleet: Fleet, engine: Engine, snapshot: Snapshot, rows: NDArray[np.intp], precisions: Sequence[str]
) -> Figures:
    assessed = Assessment(*(getattr(snapshot.assessment, field.name)[rows] for field in fields(Assessment)))
    live = assessed.freshness == LIVE
    category = categories(assessed)
    group = fleet.group[rows]
    is_host = fleet.host[rows]
    limit, power_limit = _current(fleet, rows, "memory_limit_bytes"), _current(fleet, rows, "power_limit_watts")
    room = _host_room(fleet, engine, rows, is_host & live)
    reclaimable = waste.reclaimable(
        (fleet.owned(rows) == _LEASED) & live, engine.still_s(rows, fleet.last_ms[rows]), _held_s(fleet, rows),
        engine.in_force("reclaim_idle_s", rows), engine.in_force("reclaim_grace_s", rows),
    )
    resident = (assessed.phase == _UNMANAGED) & np.isin(assessed.occupancy, (phase.RESIDENT, phase.BRIEFLY_RESIDENT))
    without_work = waste.without_work(
        _current(fleet, rows, "utilization_ratio"), _current(fleet, rows, "compute_active_ratio"),
        _current(fleet, rows, "power_watts"), engine.quiet_watts(rows, power_limit),
        engine.in_force("utilization_on_ratio", rows), engine.in_force("compute_off_ratio", rows),
    )
    at_work = ~np.isin(category, (ABSENT, UNAVAILABLE, IDLE)) & live & ~is_host
    return Figures(
        rows=rows, group=group, assessed=assessed, category=category,
        memory_bytes=limit,
        free_bytes=np.where(is_host, room[1], limit - _current(fleet, rows, "memory_usage_bytes")),
        idle_cores=room[0],
        peaks={precision: peaks(fleet.groups, group, power_limit, precision) for precision in precisions},
        reclaimable=reclaimable, resident=resident,
        without_work=without_work & at_work & ~reclaimable & ~resident,
    )


def ineffective(figures: Figures, key: NDArray[np.integer], keys: int) -> list[api.Ineffective]:
    """Ineffective compute by key, key: [n], positions below keys."""

    def tally(which: NDArray[np.bool_]) -> list[int]:
        found: list[int] = np.bincount(key[which], minlength=keys).tolist()
        return found

    kinds = zip(
        tally(figures.idle), tally(figures.reclaimable), tally(figures.resident), tally(figures.without_work),
        tally(figures.usable), strict=True,
    )
    return [
        api.Ineffective(
            idle=idle, leased_idle=leased_idle, resident=resident, busy_without_work=busy, of=of,
            ratio=(idle + leased_idle + resident + busy) / of if of else None,
        )
        for idle, leased_idle, resident, busy, of in kinds
    ]


def sums(
    values: NDArray[np.float64], which: NDArray[np.bool_], key: NDArray[np.integer], keys: int
) -> list[tuple[float | None, int]]:
    """(sum of what is known, devices of which it is not) of the devices `which`, by key; None: of none it is known."""
    known_of = which & np.isfinite(values)
    total = np.bincount(key[known_of], weights=values[known_of], minlength=keys)
    unknown = np.bincount(key[which & ~known_of], minlength=keys)
    none = (unknown > 0) & (np.bincount(key[known_of], minlength=keys) == 0)
    return list(zip(map(known, np.where(none, np.nan, total).tolist()), unknown.tolist(), strict=True))


def _current(fleet: Fleet, rows: NDArray[np.intp], metric: str) -> NDArray[np.float64]:
    """What counted at each device's newest reading."""
    column = COLUMN[metric]
    counts = fleet.good_until_ms[rows, column] >= fleet.last_ms[rows]
    return np.where(counts, fleet.values[rows, column], np.nan)


def _held_s(fleet: Fleet, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """From when each device was allocated to its newest reading; NaN: not known."""
    since, newest = fleet.allocated_at[rows], fleet.seen_at[rows]
    both = np.isfinite(since) & np.isfinite(newest)
    held_s = np.full(len(rows), np.nan)
    np.subtract(newest, since, out=held_s, where=both)
    return held_s


def _host_room(
    fleet: Fleet, engine: Engine, rows: NDArray[np.intp], live_host: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """float64[2, n]: idle cores and available memory of live hosts, NaN where not known."""
    hosts = np.flatnonzero(live_host)
    state = engine.state[rows[hosts]]
    room = np.full((2, len(rows)), np.nan)
    room[0, hosts] = host.idle_cores(fleet.values[rows[hosts], COLUMN["cpu_cores"]], state)
    room[1, hosts] = host.available_memory_bytes(state)
    return room
