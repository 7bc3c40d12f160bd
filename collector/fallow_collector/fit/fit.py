"""Whether a request fits, where, and why not: pure, over the offer of one class."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit.choose import choose
from fallow_collector.fit.nearest import nearest
from fallow_collector.fit.needs import WORDS, failed, first_words
from fallow_collector.fit.offer import Offer
from fallow_collector.fit.places import Ground
from fallow_proto.dispatch import Miss, Request


class Short(NamedTuple):
    """Devices that fail a need first; `example` is the position in the offer of one of them."""

    reason: str
    devices: int
    example: int


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """chosen: intp[count], positions in the offer; none if the request does not fit. eligible + sum(short) = all."""

    chosen: NDArray[np.intp]
    eligible: int
    largest: int
    short: list[Short]
    nearest: list[Miss]


def fit(offer: Offer, request: Request, own_only: bool = False) -> Found:
    """request: one that request.wrong finds nothing wrong with. own_only: devices of schedulers do not serve."""
    failing = failed(offer, request, own_only)
    eligible = failing == 0
    ground = Ground(offer.places(request.same), request.per_node)
    largest = ground.largest(eligible)
    fits = largest >= request.count
    return Found(
        chosen=choose(offer, ground, eligible, request.count),
        eligible=int(np.count_nonzero(eligible)),
        largest=largest,
        short=_short(offer, failing),
        nearest=[] if fits else nearest(offer, request, failing),
    )


def _short(offer: Offer, failing: NDArray[np.uint32]) -> list[Short]:
    at = np.flatnonzero(failing)
    word = first_words(offer, failing, at)
    devices = np.bincount(word, minlength=len(WORDS))
    example = np.zeros(len(WORDS), dtype=np.intp)
    example[word[::-1]] = at[::-1]  # of several values for one place the last one stays: the first by name
    return [Short(WORDS[i], int(devices[i]), int(example[i])) for i in np.flatnonzero(devices).tolist()]
