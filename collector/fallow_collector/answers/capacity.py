"""Capacity by group, as the API shows it."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fallow_collector.answers.completeness import incomplete
from fallow_collector.answers.figures import Figures, figures, ineffective, sums
from fallow_collector.answers.numbers import milliseconds, rfc3339
from fallow_collector.fit.members import Members
from fallow_collector.fit.places import UNKNOWN
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.roster import GroupKey
from fallow_collector.idle.capacity import CATEGORIES, SIZES, count, fragmentation, largest_blocks
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.reasons import REASONS
from fallow_collector.view import Snapshot
from fallow_proto import api
from fallow_proto.catalogue import find
from fallow_proto.states import DeviceClass

Number = TypeVar("Number", int, float)


def capacity(
    fleet: Fleet, engine: Engine, snapshot: Snapshot, epoch: str, wanted: NDArray[np.bool_], members: Members,
    precisions: Sequence[str],
) -> api.Capacity:
    """wanted: bool[n], the devices that the answer is about; members: of this fleet."""
    rows = np.flatnonzero(wanted & snapshot.counted)
    found = figures(fleet, engine, snapshot, rows, precisions)
    missing = incomplete(fleet, found.assessed.freshness)
    return api.Capacity(
        as_of=rfc3339(snapshot.as_of),
        epoch=epoch,
        revision=snapshot.revision,
        complete=not missing,
        incomplete_by=missing,
        max_age_ms=oldest_ms(snapshot, found),
        density=api.DENSITY,
        groups=_groups(fleet, found, members),
    )


def oldest_ms(snapshot: Snapshot, found: Figures) -> int | None:
    """Age of the oldest evidence of the devices counted idle; None: none is."""
    ages = snapshot.age_s[found.rows[found.idle]]
    return milliseconds(float(ages.max())) if len(ages) else None


def is_domestic(key: GroupKey) -> bool | None:
    chip = find(key.vendor, key.model)
    return None if chip is None else chip.domestic


def _groups(fleet: Fleet, found: Figures, members: Members) -> list[api.Group]:
    group, many = found.group, len(fleet.groups)
    counts = count(
        found.category, found.assessed.reasons, group, fleet.owner[found.rows], fleet.declared[found.rows], many
    )
    idle = counts.by_category[:, CATEGORIES.index("idle")]
    shares = fragmentation(counts.slots, idle)
    blocks = _blocks(fleet, found, members, idle)
    memory = sums(found.free_bytes, found.idle, group, many)
    peaks = {precision: sums(peak, found.idle, group, many) for precision, peak in found.peaks.items()}
    waste = ineffective(found, group, many)
    is_host = np.array([key.device_class == DeviceClass.GENERAL for key in fleet.groups], dtype=np.bool_)
    of_hosts = is_host[group] if len(group) else np.zeros(0, dtype=np.bool_)
    cores = sums(found.idle_cores, of_hosts, group, many)
    room = sums(found.free_bytes, of_hosts, group, many)

    def made(number: int, key: GroupKey) -> api.Group:
        by_category = dict(zip(CATEGORIES, counts.by_category[number].tolist(), strict=True))
        total, declared = sum(by_category.values()), int(counts.declared[number])
        by_reason = zip(REASONS, counts.reasons[number].tolist(), strict=False)
        return api.Group(
            site=key.site, device_class=key.device_class, vendor=key.vendor, model=key.model,
            partition_profile=key.partition_profile or None, domestic=is_domestic(key),
            declared=declared, undeclared=total - declared,
            seen=total - by_category["absent"], absent=by_category["absent"],
            **{name: by_category[name] for name in CATEGORIES if name != "absent"},
            unavailable_by={reason.name: n for reason, n in by_reason if n},
            reclaimable=waste[number].leased_idle,
            slots=_by_size(counts.slots[number].tolist()),
            fragmentation=_by_size(shares[number].tolist()),
            largest_block=blocks[number],
            idle_memory_bytes=memory[number][0], idle_memory_unknown=memory[number][1],
            idle_flops={precision: api.Peak(*of_groups[number]) for precision, of_groups in peaks.items()},
            ineffective=waste[number],
            idle_cores=cores[number][0] if is_host[number] else None,
            available_memory_bytes=room[number][0] if is_host[number] else None,
        )

    there = sorted(np.flatnonzero(np.bincount(group)).tolist(), key=lambda number: fleet.groups[number])
    return [made(number, fleet.groups[number]) for number in there]


def _by_size(numbers: Sequence[Number]) -> dict[str, Number]:
    return {str(size): number for size, number in zip(SIZES, numbers, strict=True)}


def _blocks(fleet: Fleet, found: Figures, members: Members, idle: NDArray[np.int64]) -> list[api.Block]:
    """The largest block of idle devices of each group, by how close they stand."""
    rows, group = found.rows[found.idle], found.group[found.idle]
    levels: dict[str, list[int | None]] = {}
    for level in ("node", "link", "rack"):
        domain = np.full(fleet.count, UNKNOWN, dtype=np.int32)
        domain[members.rows] = members.domains[level]
        largest = largest_blocks(group, domain[rows], len(fleet.groups))
        levels[level] = [
            None if n and not most else most for n, most in zip(idle.tolist(), largest.tolist(), strict=True)
        ]
    return [api.Block(node=node, link=link, rack=rack) for node, link, rack in zip(*levels.values(), strict=True)]
