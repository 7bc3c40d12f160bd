"""Which devices a request gets: best fit, so that what is whole stays whole.

1. The domain (`same`) with the fewest free devices among those that have room for all; then the first by name.
2. With `per_node`: nodes where nothing is left over first, then the most broken, whole nodes last.
3. Without: as long as no node has room for all that is left, the one with the most free devices is used up. Then the
   node on which the fewest free devices remain takes the rest. A node that is whole (all its devices are free) is used
   whole or not at all, unless nothing else is left.
4. Among nodes alike: broken before whole, fresher evidence (in whole seconds) before older, then by name; the same
   among devices of a node, with uuids for names.
"""

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit.offer import Offer
from fallow_collector.fit.places import Ground

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

OLDEST_S = 4096
"""Ages above it are alike; nothing so old is idle."""


def choose(offer: Offer, ground: Ground, eligible: Bools, count: int) -> NDArray[np.intp]:
    """Positions in the offer of `count` devices, in its order; none if they do not fit."""
    free = ground.free(eligible)
    room, found = ground.room(free), ground.sum_by_domain(free)
    if not (room >= count).any():
        return np.zeros(0, dtype=np.intp)
    domain = int(np.argmin(np.where(room >= count, found, np.iinfo(np.int64).max)))
    candidates = np.flatnonzero((ground.places.domain == domain) & (ground.usable(free) > 0))
    whole = free == np.bincount(ground.places.of, minlength=len(free))
    age = np.zeros(len(free), dtype=np.int64)
    np.maximum.at(age, ground.places.of[eligible], _whole_seconds(offer.age_s[eligible]))
    take = np.zeros(len(free), dtype=np.int64)
    how = _so_many_each if ground.per_node else _as_few_as_will_do
    take[candidates] = how(free[candidates], whole[candidates], age[candidates], count, ground.per_node)
    return _devices(offer, ground, eligible, take)


def _so_many_each(free: Ints, whole: Bools, age: Ints, count: int, per_node: int) -> Ints:
    order = _order(whole & (free > per_node), free, whole, age)
    take = np.zeros(len(free), dtype=np.int64)
    take[order[: count // per_node]] = per_node
    return take


def _as_few_as_will_do(free: Ints, whole: Bools, age: Ints, count: int, per_node: int) -> Ints:
    order = _order(np.zeros(len(free), dtype=np.bool_), free.max(initial=0) - free, whole, age)
    free, whole = free[order], whole[order]
    taken = np.zeros(len(free), dtype=np.int64)
    left = count
    while left:
        open_ = taken == 0
        ends = np.flatnonzero(open_ & ((free == left) | (free > left) & ~whole))
        smaller = np.flatnonzero(open_ & (free < left))
        if not len(ends) and len(smaller):
            # Use up the largest, until what is left fits into the next one.
            still = left - (np.cumsum(free[smaller]) - free[smaller])
            fits = np.flatnonzero(still <= free[smaller])
            used = smaller[: fits[0]] if len(fits) else smaller
            taken[used] = free[used]
            left -= int(free[used].sum())
            continue
        if not len(ends):
            ends = np.flatnonzero(open_)  # only whole nodes, each with more than is left
        taken[ends[np.argmin(free[ends])]] = left
        left = 0
    take = np.zeros(len(free), dtype=np.int64)
    take[order] = taken
    return take


def _order(last: Bools, rising: Ints, whole: Bools, age: Ints) -> NDArray[np.intp]:
    """By all of these; what is alike in all stays in order of names."""
    return np.argsort((last * (int(rising.max(initial=0)) + 1) + rising) * 2 * OLDEST_S + whole * OLDEST_S + age,
                      kind="stable")


def _devices(offer: Offer, ground: Ground, eligible: Bools, take: Ints) -> NDArray[np.intp]:
    """So many eligible devices of each place: the freshest, then the first by uuid."""
    among = np.flatnonzero(eligible & (take > 0)[ground.places.of])
    place = ground.places.of[among]
    order = np.lexsort((_whole_seconds(offer.age_s[among]), place))
    place = place[order]
    starts = np.searchsorted(place, place)
    return np.sort(among[order[np.arange(len(place)) - starts < take[place]]])


def _whole_seconds(age_s: NDArray[np.float64]) -> Ints:
    return np.clip(age_s, 0, OLDEST_S - 1).astype(np.int64)
