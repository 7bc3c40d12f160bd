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
_RESIDENT = np.isin(range(len(phase.OCCUPANCIES)), (phase.RESIDENT, phase.BRIEFLY_RESIDENT))
_MAY_WORK = ~np.isin(range(len(CATEGORIES)), (ABSENT, UNAVAILABLE, IDLE))


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """n devices. rows: intp[n], of the fleet; group: int32[n], positions in fleet.groups.

    assessed: of n devices. category: uint8[n], positions in CATEGORIES. free_bytes: float64[n], of idle accelerators
    and of live hosts, idle_cores: float64[n], of live hosts; NaN of all others and where not known. peaks: by
    precision, float64[n]. reclaimable, resident (memory or processes and no work), without_work: bool[n], no device in
    two of them nor idle beside.
    """

    rows: NDArray[np.intp]
    group: NDArray[np.int32]
    assessed: Assessment
    category: NDArray[np.uint8]
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
    assessed = snapshot.assessment
    if len(rows) < len(snapshot.counted):
        assessed = Assessment(*(getattr(assessed, field.name)[rows] for field in fields(Assessment)))
    live = assessed.freshness == LIVE
    category = categories(assessed)
    is_host = fleet.host[rows]
    room = _host_room(fleet, engine, rows, is_host & live)
    reclaimable = _reclaimable(fleet, engine, rows, (fleet.owned(rows) == _LEASED) & live)
    resident = (assessed.phase == _UNMANAGED) & _RESIDENT[assessed.occupancy]
    at_work = _MAY_WORK[category] & live & ~is_host & ~reclaimable & ~resident
    return Figures(
        rows=rows, group=fleet.group[rows], assessed=assessed, category=category,
        free_bytes=np.where(is_host, room[1], _free_bytes(fleet, rows, category == IDLE)),
        idle_cores=room[0],
        peaks={precision: peaks(fleet, rows, precision) for precision in precisions},
        reclaimable=reclaimable, resident=resident, without_work=_without_work(fleet, engine, rows, at_work),
    )


def ineffective(figures: Figures, key: NDArray[np.integer], keys: int) -> list[api.Ineffective]:
    """Ineffective compute by key, key: [n], positions below keys."""
    kinds = (figures.idle, figures.reclaimable, figures.resident, figures.without_work, figures.usable)
    bits = np.arange(len(kinds))
    of_kinds = sum((kind.view(np.uint8) << bit for bit, kind in enumerate(kinds)), np.zeros(len(key), dtype=np.uint8))
    often = np.bincount(key.astype(np.intp) << len(kinds) | of_kinds, minlength=keys << len(kinds))
    tally = often.reshape(keys, 1 << len(kinds)) @ (np.arange(1 << len(kinds))[:, None] >> bits & 1)
    return [
        api.Ineffective(
            idle=idle, leased_idle=leased_idle, resident=resident, busy_without_work=busy, of=of,
            ratio=(idle + leased_idle + resident + busy) / of if of else None,
        )
        for idle, leased_idle, resident, busy, of in tally.tolist()
    ]


def sums(
    values: NDArray[np.float64], which: NDArray[np.bool_], key: NDArray[np.integer], keys: int
) -> list[tuple[float | None, int]]:
    """(sum of what is known, devices of which it is not) of the devices `which`, by key; None: of none it is known."""
    at = np.flatnonzero(which)
    values, key = values[at], key[at]
    known_of = np.isfinite(values)
    total = np.bincount(key[known_of], weights=values[known_of], minlength=keys)
    unknown = np.bincount(key[~known_of], minlength=keys)
    none = (unknown > 0) & (np.bincount(key[known_of], minlength=keys) == 0)
    return list(zip(map(known, np.where(none, np.nan, total).tolist()), unknown.tolist(), strict=True))


def current(fleet: Fleet, rows: NDArray[np.intp], *metrics: str) -> NDArray[np.float64]:
    """float64[metrics, rows] of what counted at each device's newest reading."""
    newest = fleet.last_ms[rows]
    found = np.empty((len(metrics), len(rows)))
    for values, column in zip(found, [COLUMN[metric] for metric in metrics], strict=True):
        counts = fleet.good_until_ms[:, column][rows] >= newest
        values[:] = np.where(counts, fleet.values[:, column][rows], np.nan)
    return found


def _free_bytes(fleet: Fleet, rows: NDArray[np.intp], which: NDArray[np.bool_]) -> NDArray[np.float64]:
    limit, used = current(fleet, rows[which], "memory_limit_bytes", "memory_usage_bytes")
    free = np.full(len(rows), np.nan)
    free[which] = limit - used
    return free


def _reclaimable(
    fleet: Fleet, engine: Engine, rows: NDArray[np.intp], leased: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    some = rows[leased]
    found = leased.copy()
    found[leased] = waste.reclaimable(
        engine.still_s(some, fleet.last_ms[some]), _held_s(fleet, some),
        engine.in_force("reclaim_idle_s", some), engine.in_force("reclaim_grace_s", some),
    )
    return found


def _without_work(
    fleet: Fleet, engine: Engine, rows: NDArray[np.intp], at_work: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    found = at_work.copy()
    some = rows[at_work]
    utilization, compute = current(fleet, some, "utilization_ratio", "compute_active_ratio")
    found[at_work] = waste.spinning(
        utilization, compute,
        engine.in_force("utilization_on_ratio", some), engine.in_force("compute_off_ratio", some),
    )
    few = np.flatnonzero(found)  # of the others nobody needs to know what they draw
    power, limit = current(fleet, rows[few], "power_watts", "power_limit_watts")
    found[few] = power <= engine.quiet_watts(rows[few], limit)
    return found


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
