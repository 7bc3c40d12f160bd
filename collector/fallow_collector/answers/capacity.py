"""Capacity by group, as the API shows it."""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from fallow_collector.answers.completeness import incomplete
from fallow_collector.answers.numbers import milliseconds, rfc3339
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle import host, phase
from fallow_collector.idle.assess import LIVE, Assessment
from fallow_collector.idle.capacity import CATEGORIES, SIZES, count
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.reasons import REASONS
from fallow_collector.view import Snapshot
from fallow_proto import api
from fallow_proto.metrics import COLUMN
from fallow_proto.states import DeviceClass, Phase


def capacity(fleet: Fleet, engine: Engine, snapshot: Snapshot, epoch: str, wanted: NDArray[np.bool_]) -> api.Capacity:
    """wanted: bool[n], the devices that the answer is about."""
    rows = np.flatnonzero(wanted & snapshot.counted)
    assessed = _of(snapshot.assessment, rows)
    groups = fleet.group[rows]
    counts = count(assessed, groups, fleet.owner[rows], fleet.declared[rows], len(fleet.groups))
    idle = assessed.phase == phase.PHASES.index(Phase.IDLE)
    free = _host_room(fleet, engine, rows, assessed.freshness == LIVE)
    missing = incomplete(fleet, assessed.freshness)
    return api.Capacity(
        as_of=rfc3339(snapshot.as_of),
        epoch=epoch,
        revision=snapshot.revision,
        complete=not missing,
        incomplete_by=missing,
        max_age_ms=milliseconds(float(snapshot.age_s[rows][idle].max())) if idle.any() else None,
        groups=[
            _group(fleet, number, counts.by_category[number].tolist(), int(counts.declared[number]),
                   counts.reasons[number].tolist(), counts.slots[number].tolist(), groups == number, free)
            for number in sorted(set(groups.tolist()), key=lambda number: fleet.groups[number])
        ],
    )


def _of(assessment: Assessment, rows: NDArray[np.intp]) -> Assessment:
    return Assessment(*(getattr(assessment, field.name)[rows] for field in fields(assessment)))


def _host_room(
    fleet: Fleet, engine: Engine, rows: NDArray[np.intp], live: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """float64[2, rows]: idle cores and available memory of live hosts, NaN where not known."""
    is_host = np.array([key.device_class == DeviceClass.GENERAL for key in fleet.groups], dtype=np.bool_)
    hosts = np.flatnonzero(is_host[fleet.group[rows]] & live)
    state = engine.state[rows[hosts]]
    room = np.full((2, len(rows)), np.nan)
    room[0, hosts] = host.idle_cores(fleet.values[rows[hosts], COLUMN["cpu_cores"]], state)
    room[1, hosts] = host.available_memory_bytes(state)
    return room


def _group(
    fleet: Fleet, number: int, by_category: Sequence[int], declared: int, reasons: Sequence[int],
    slots: Sequence[int], members: NDArray[np.bool_], free: NDArray[np.float64],
) -> api.Group:
    key = fleet.groups[number]
    found = dict(zip(CATEGORIES, by_category, strict=True))
    total = sum(by_category)
    by_reason = {reason.name: n for reason, n in zip(REASONS, reasons, strict=False) if n}
    is_host = key.device_class == DeviceClass.GENERAL
    return api.Group(
        site=key.site, device_class=key.device_class, vendor=key.vendor, model=key.model,
        partition_profile=key.partition_profile or None,
        declared=declared, undeclared=total - declared, seen=total - found["absent"], absent=found["absent"],
        **{name: found[name] for name in CATEGORIES if name != "absent"},
        unavailable_by=by_reason, reclaimable=0, slots={str(s): n for s, n in zip(SIZES, slots, strict=True)},
        idle_cores=_sum(free[0][members]) if is_host else None,
        available_memory_bytes=_sum(free[1][members]) if is_host else None,
    )


def _sum(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.sum()) if len(known) else None
