"""Sums over groups by what the asker names; never over classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fallow_collector.answers.capacity import is_domestic, oldest_ms
from fallow_collector.answers.completeness import incomplete
from fallow_collector.answers.figures import ABSENT, current, figures, sums
from fallow_collector.answers.numbers import rfc3339
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.roster import GroupKey
from fallow_collector.idle.engine import Engine
from fallow_collector.view import Snapshot
from fallow_proto import api

Key = tuple[str | bool | None, ...]


def totals(
    fleet: Fleet, engine: Engine, snapshot: Snapshot, epoch: str, wanted: NDArray[np.bool_], by: Sequence[str],
    precision: str,
) -> api.Totals:
    """wanted: bool[n], the devices that the answer is about; by: of api.TOTAL_KEYS, to which the class is added."""
    rows = np.flatnonzero(wanted & snapshot.counted)
    found = figures(fleet, engine, snapshot, rows, [precision])
    names = ("class", *(name for name in by if name != "class"))
    keys, key = _numbered([_key(group, names) for group in fleet.groups], found.group)
    seen = found.category != ABSENT
    peaks = found.peaks[precision]
    [memory] = current(fleet, rows, "memory_limit_bytes")
    columns = zip(
        np.bincount(key[seen], minlength=len(keys)).tolist(),
        np.bincount(key[found.idle], minlength=len(keys)).tolist(),
        sums(memory, seen, key, len(keys)),
        sums(found.free_bytes, found.idle, key, len(keys)),
        sums(peaks, seen, key, len(keys)),
        sums(peaks, found.idle, key, len(keys)),
        strict=True,
    )
    missing = incomplete(fleet, found.assessed.freshness)
    return api.Totals(
        as_of=rfc3339(snapshot.as_of), epoch=epoch, revision=snapshot.revision, complete=not missing,
        incomplete_by=missing, max_age_ms=oldest_ms(snapshot, found), by=list(names), precision=precision,
        density=api.DENSITY,
        totals=[
            _total(dict(zip(names, words, strict=True)), devices, idle, memory, free, flops, idle_flops)
            for words, (devices, idle, memory, free, flops, idle_flops) in zip(keys, columns, strict=True)
        ],
    )


def _total(
    words: dict[str, str | bool | None], devices: int, idle: int, memory: tuple[float | None, int],
    free: tuple[float | None, int], flops: tuple[float | None, int], idle_flops: tuple[float | None, int],
) -> api.Total:
    device_class = words.pop("class")
    return api.Total(
        device_class=device_class, **words, devices=devices, idle=idle,  # type: ignore[arg-type]  # a word a key
        memory_bytes=memory[0], memory_unknown=memory[1], idle_memory_bytes=free[0], idle_memory_unknown=free[1],
        flops=api.Peak(*flops), idle_flops=api.Peak(*idle_flops),
    )


def _key(group: GroupKey, names: Sequence[str]) -> Key:
    words = {
        "class": group.device_class, "site": group.site, "vendor": group.vendor, "model": group.model,
        "domestic": is_domestic(group),
    }
    return tuple(words[name] for name in names)


def _numbered(keys: list[Key], group: NDArray[np.int32]) -> tuple[list[Key], NDArray[np.intp]]:
    """The keys that devices have, in order, what is not known last; and the position of each device's."""
    there = {keys[number] for number in np.flatnonzero(np.bincount(group)).tolist()}
    ordered = sorted(there, key=lambda key: [(word is None, str(word)) for word in key])
    position = {key: i for i, key in enumerate(ordered)}
    of_groups = np.array([position.get(key, -1) for key in keys], dtype=np.intp)
    return ordered, of_groups[group]
