"""A request beside what keeps each device from serving it, and what a change of it would give."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit.needs import bits
from fallow_collector.fit.offer import Offer
from fallow_collector.fit.places import Ground
from fallow_proto.dispatch import Request


class Asked(NamedTuple):
    """failing: uint32[n], needs.failed of the request."""

    offer: Offer
    request: Request
    failing: NDArray[np.uint32]

    @property
    def ground(self) -> Ground:
        return Ground(self.offer.places(self.request.same), self.request.per_node)

    @property
    def eligible(self) -> NDArray[np.bool_]:
        serving: NDArray[np.bool_] = self.failing == 0
        return serving

    def without(self, field: str) -> NDArray[np.bool_]:
        """Devices that would serve if the field did not matter."""
        serving: NDArray[np.bool_] = (self.failing & ~bits(field)) == 0
        return serving


class Change(NamedTuple):
    """A value of a field at which the request fits; `then` is the largest count that would fit there."""

    fits_at: str
    then: int
    share: float  # how much is given up: below 0 only time, up to 1 a share of a number, from 1 on steps of words
