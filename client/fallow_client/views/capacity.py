"""What can be dispatched now."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from fallow_client.views.table import add, table
from fallow_client.views.text import GIB, counts, number, plain, standing
from fallow_proto import api

_OTHERS = (
    ("idle_low_confidence", "idle (low)"), ("verifying", "verifying"), ("reserved", "reserved"), ("leased", "leased"),
    ("releasing", "releasing"), ("unmanaged", "unmanaged"), ("unavailable", "unavailable"), ("absent", "absent"),
)
_SIZES = ("2", "4", "8")


def capacity(answer: api.Capacity) -> Iterator[RenderableType]:
    """A line for each class, a table for each site and class, and how good the answer is."""
    yield Text(_headline(answer.groups))
    for (site, device_class), groups in groupby(answer.groups, key=lambda group: (group.site, group.device_class)):
        yield from _section(site, device_class, list(groups))
    yield Text("")
    yield Text(standing(answer.as_of, answer.complete, answer.max_age_ms, answer.incomplete_by))


def _headline(groups: Sequence[api.Group]) -> str:
    """Classes are never added to one another."""
    idle, low, seen = Counter[str](), Counter[str](), Counter[str]()
    for group in groups:
        idle[group.device_class] += group.idle
        low[group.device_class] += group.idle_low_confidence
        seen[group.device_class] += group.seen
    parts = (
        f"{idle[name]} of {seen[name]} {plain(name)}" + (f" (and {low[name]} with low confidence)" if low[name] else "")
        for name in seen
    )
    return f"idle: {', '.join(parts)}" if seen else "idle: none, no device is known"


def _section(site: str, device_class: str, groups: Sequence[api.Group]) -> Iterator[RenderableType]:
    yield Text("")
    yield Text(f"{plain(site)}, {plain(device_class)}", style="bold")
    yield _table(groups)
    for group in groups:
        if group.undeclared and group.declared:
            yield Text(f"{plain(group.model)}: {group.undeclared} seen that the inventory does not declare")


def _table(groups: Sequence[api.Group]) -> Table:
    """Columns that say nothing are left out; ×2 ×4 ×8 are sets of so many idle devices on one node."""
    sizes = [size for size in _SIZES if any(group.slots.get(size) for group in groups)]
    partitioned = any(group.partition_profile for group in groups)
    hosts = any(group.idle_cores is not None for group in groups)
    made = table(
        "vendor", "model", *(["profile"] if partitioned else []), ">idle", ">seen", *(f">×{size}" for size in sizes),
        *([">idle cores", ">memory GiB"] if hosts else []), "others",
    )
    for group in groups:
        add(made, (
            plain(group.vendor), plain(group.model), *([plain(group.partition_profile)] if partitioned else []),
            str(group.idle), str(group.seen), *(str(group.slots.get(size, 0)) for size in sizes),
            *([number(group.idle_cores, digits=1), number(group.available_memory_bytes, GIB)] if hosts else []),
            _others(group),
        ))
    return made


def _others(group: api.Group) -> str:
    """What is not idle, and why it is unavailable: `1 verifying, 4 unavailable (3 stale, 1 faulty)`."""
    why = {
        "leased": f" ({group.reclaimable} reclaimable)" if group.reclaimable else "",
        "unavailable": f" ({counts(group.unavailable_by)})" if group.unavailable_by else "",
    }
    parts = (
        f"{count} {title}{why.get(name, '')}" for name, title in _OTHERS if (count := getattr(group, name))
    )
    return ", ".join(parts)
