"""Whether devices serve a request, and if not, why not and what would."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from fallow_client.views.leases import members
from fallow_client.views.table import add, table
from fallow_client.views.text import UNKNOWN, plain, some, standing, wholeness
from fallow_proto.dispatch import Fit, Placement


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
    if answer.nearest:
        yield Text("")
        yield _misses(answer)
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


def _misses(answer: Fit) -> RenderableType:
    made = table("it would fit with", "instead of", ">devices then")
    for miss in answer.nearest:
        change = f"{plain(miss.relax)} {plain(miss.fits_at)}" if miss.fits_at is not None else (
            f"no {plain(miss.relax)} alone"
        )
        add(made, (change, plain(miss.asked) if miss.asked else UNKNOWN, str(miss.then)))
    return made
