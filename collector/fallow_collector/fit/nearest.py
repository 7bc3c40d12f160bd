"""What of a request would have to change, and by how little, for it to fit: one requirement alone, all others kept.

The smallest change comes first: waiting for devices that are about to be idle; then numbers, by the share of them that
is given up; then words, by how many steps they are widened. Of changes alike the order of REQUIREMENTS counts.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit import numbers, words
from fallow_collector.fit.asked import Asked, Change
from fallow_collector.fit.needs import bits
from fallow_collector.fit.offer import Offer
from fallow_collector.idle import phase
from fallow_collector.idle.reasons import BIT
from fallow_proto.dispatch import Miss, Request
from fallow_proto.states import Phase

WAIT = "wait"
VERIFYING, RELEASING = map(phase.PHASES.index, (Phase.VERIFYING, Phase.RELEASING))
SILENT = list(BIT).index("stale")  # the last of the reasons that say so

_DEFAULTS = Request()


class Requirement(NamedTuple):
    field: str
    change: Callable[[Asked], Change | None]  # the least one that helps
    most: Callable[[Asked], int]  # how many devices would fit if it did not matter

    def asked(self, request: Request) -> str:
        """As it is in the request; empty: it does not matter there."""
        if self.field == WAIT:
            return "idle"
        value = getattr(request, self.field)
        if self.field == "confidence":  # its default asks for more than the other word
            return "high" if value == "high" else ""
        if value == getattr(_DEFAULTS, self.field) and self.field != "count":
            return ""
        return ",".join(value) if isinstance(value, list) else str(value)


def nearest(offer: Offer, request: Request, failing: NDArray[np.uint32]) -> list[Miss]:
    """failing: needs.failed of a request that does not fit.

    Where no requirement alone makes it fit, all that devices fail are named, with how many would fit without each.
    """
    asked = Asked(offer, request, failing)
    relevant = [requirement for requirement in REQUIREMENTS if requirement.asked(request)]
    changes = [(requirement, requirement.change(asked)) for requirement in relevant]
    helping = [(requirement, change) for requirement, change in changes if change is not None]
    if not helping:
        return [_no_help(requirement, asked) for requirement in relevant if _fails_some(requirement, asked)]
    return [
        Miss(relax=requirement.field, asked=requirement.asked(request), fits_at=change.fits_at, then=change.then)
        for requirement, change in sorted(helping, key=lambda pair: pair[1].share)
    ]


def _fails_some(requirement: Requirement, asked: Asked) -> bool:
    """Whether there is a device that fails it; of some no single device can say so."""
    needs = bits(requirement.field)
    return not needs or bool((asked.failing & needs).any())


def _no_help(requirement: Requirement, asked: Asked) -> Miss:
    text, field = requirement.asked(asked.request), requirement.field
    meant = words.meant(asked, field) if field in words.LISTS else ""
    return Miss(
        relax=field, asked=f"{text} ({meant})" if meant else text, fits_at=None, then=requirement.most(asked)
    )


def _wait(asked: Asked) -> Change | None:
    """For devices that are being verified, else also for those that are being released."""
    for step, codes in enumerate(((VERIFYING,), (VERIFYING, RELEASING))):
        then = _after_waiting(asked, codes)
        if then >= asked.request.count:
            return Change(",".join(str(phase.PHASES[code]) for code in codes), then, -1.0 + step / 2)
    return None


def _after_waiting(asked: Asked, codes: tuple[int, ...] = (VERIFYING, RELEASING)) -> int:
    offer = asked.offer
    waiting = np.logical_or.reduce([offer.phase == code for code in codes]) & (offer.first > SILENT)
    return asked.ground.largest(asked.eligible | asked.without(WAIT) & waiting)


def _of(
    field: str, change: Callable[[Asked], Change | None], most: Callable[[Asked], int] | None = None
) -> Requirement:
    return Requirement(field, change, most or (lambda asked: asked.ground.largest(asked.without(field))))


REQUIREMENTS: tuple[Requirement, ...] = (
    _of(WAIT, _wait, _after_waiting),
    *(_of(field, numbers.threshold(field)) for field in ("free_memory_bytes", "power_headroom_watts", "peak_flops")),
    _of("count", numbers.count),
    _of("per_node", numbers.per_node, numbers.without_per_node),
    _of("same", words.same, words.anywhere),
    _of("health", words.to("health", "degraded")),
    _of("confidence", words.to("confidence", "low")),
    *(_of(field, words.one_word(field)) for field in words.LISTS),
)
