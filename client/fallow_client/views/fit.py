"""Whether devices serve a request, and if not, why not and what would."""

from collections.abc import Iterator
from math import floor

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from fallow_client.views.leases import members
from fallow_client.views.table import add, table
from fallow_client.views.text import plain, some, standing, wholeness
from fallow_proto.dispatch import Fit, Placement

WAIT = "wait"  # no field of a request

_FLAGS = {
    "device_class": "--class", "partition_profile": "--profile", "free_memory_bytes": "--free-memory",
    "peak_flops": "--flops", "power_headroom_watts": "--power-headroom", "sites": "--site",
    "exclude_sites": "--exclude-site", "exclude_nodes": "--exclude-node",
}
_UNITS = {
    "free_memory_bytes": (("GiB", 2.0**30), ("MiB", 2.0**20)),
    "peak_flops": (("P", 1e15), ("T", 1e12)),
    "power_headroom_watts": (("", 1.0),),
}


def fit(answer: Fit) -> Iterator[RenderableType]:
    """The placement, or reasons as `n/m reason` and the nearest misses."""
    if answer.placement is not None:
        yield from _placement(answer.placement)
    else:
        yield Text(f"it does not fit: {some(answer.eligible, 'device')} would do each by itself, "
                   f"{answer.largest} would fit together")
    if answer.short:
        yield Text("")
        yield _shortfalls(answer)
    for made in (_helping(answer), _helpless(answer)):
        if made.row_count:
            yield Text("")
            yield made
    yield Text("")
    if answer.placement is not None:
        yield Text(standing(answer.as_of, answer.complete, answer.placement.max_age_ms, answer.incomplete_by))
    else:
        yield Text(f"as of {plain(answer.as_of)}, {wholeness(answer.complete, answer.incomplete_by)}")


def _placement(found: Placement) -> Iterator[RenderableType]:
    where = ", ".join(plain(site) for site in found.sites)
    low = ", with low confidence" if found.confidence != "high" else ""
    yield Text(f"it fits: {some(len(found.devices), 'device')} on {some(found.nodes, 'node')} at {where}{low}")
    others = [plain(name) for name in found.ledgers if name != "fallow"]
    if others:
        yield Text(f"handed out by {', '.join(others)}: ask there, fallow reserve refuses them")
    yield members(found.devices)


def _shortfalls(answer: Fit) -> RenderableType:
    made = table(">devices", "do not serve because of", "for example")
    for one in answer.short:
        add(made, (f"{one.devices}/{one.of}", plain(one.reason), plain(one.example)))
    return made


def _helping(answer: Fit) -> Table:
    made = table("it would fit with", "instead of", ">devices then")
    for miss in answer.nearest:
        if miss.fits_at is not None:
            add(made, (_change(miss.relax, miss.fits_at), _value(miss.relax, miss.asked), str(miss.then)))
    return made


def _helpless(answer: Fit) -> Table:
    made = table("not enough, each alone", "asked", ">would fit without it")
    for miss in answer.nearest:
        if miss.fits_at is None:
            add(made, (_flag(miss.relax), _value(miss.relax, miss.asked), str(miss.then)))
    return made


def _flag(field: str) -> str:
    """The word of the command line that says this of a request."""
    word = _FLAGS.get(field, f"--{field.replace('_', '-')}")
    return "waiting" if field == WAIT else plain(word)


def _change(field: str, fits_at: str) -> str:
    if field == WAIT:
        return f"waiting for what is {' or '.join(plain(fits_at).split(','))}"
    return f"{_flag(field)} {_value(field, fits_at)}" if fits_at else f"no {_flag(field)}"


def _value(field: str, text: str) -> str:
    """As it is written on the command line; never rounded up, or it would not fit."""
    if field == WAIT:
        return "idle now"
    for unit, scale in _UNITS.get(field, ()):
        if float(text) >= scale:
            return f"{floor(float(text) / scale * 100) / 100:g}{unit}"
    return plain(text)
