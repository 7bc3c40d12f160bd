"""The least change of a request's words that makes it fit."""

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit.asked import Asked, Change
from fallow_collector.fit.members import number
from fallow_collector.fit.places import UNKNOWN, Ground

WIDER = {
    "link": ("node", "rack", "site", ""), "node": ("rack", "site", ""), "rack": ("site", ""), "site": ("",),
    "model": ("",),
}
SPELLED_ALIKE = 0.5

LISTS = {
    "vendor": "vendor", "model": "model", "sites": "site", "exclude_sites": "site", "exclude_nodes": "node",
}
"""What of a device the words of a list are."""


def same(asked: Asked) -> Change | None:
    for step, wider in enumerate(WIDER[asked.request.same], start=1):
        then = _room_within(asked, wider)
        if then >= asked.request.count:
            return Change(wider, then, float(step))
    return None


def anywhere(asked: Asked) -> int:
    """How many devices would fit if they need not be together."""
    return _room_within(asked, "")


def _room_within(asked: Asked, wider: str) -> int:
    found = asked.offer.places(wider)
    known = (found.domain != UNKNOWN)[found.of]
    return Ground(found, asked.request.per_node).largest(asked.without("same") & known)


def to(field: str, word: str) -> Callable[[Asked], Change | None]:
    """A word that asks for less."""
    def change(asked: Asked) -> Change | None:
        then = asked.ground.largest(asked.without(field))
        return Change(word, then, 1.0) if then >= asked.request.count else None

    return change


def one_word(field: str) -> Callable[[Asked], Change | None]:
    """Of a list: one word more (of those excluded: one less), else any. Words spelled like those asked come first."""
    def change(asked: Asked) -> Change | None:
        listed: list[str] = getattr(asked.request, field)
        excluding = field.startswith("exclude_")
        enough = _enough_with_one(asked, field)
        if not enough:
            then = asked.ground.largest(asked.without(field))
            return Change("", then, 2.0) if then >= asked.request.count else None
        if excluding:
            word = min(enough)
            left = [one for one in listed if one != word]
        else:
            word = min(enough, key=lambda word: (-_likeness(word, listed), word))
            left = [*listed, word]
        return Change(",".join(left), enough[word], 1.0)

    return change


def meant(asked: Asked, field: str) -> str:
    """For a list with words that the fleet does not have: those that may have been meant; else nothing."""
    there = _words(asked, field).words
    missing = [word for word in getattr(asked.request, field) if word not in there]
    if not missing or field.startswith("exclude_"):
        return ""
    near = [one for one in there if _likeness(one, missing) >= SPELLED_ALIKE]
    said = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(there) or 'none'}"
    return f"there is no {', '.join(missing)}; {said}"


def _likeness(word: str, listed: Sequence[str]) -> float:
    """From 0 to 1: how likely one of those listed was meant to be this one. `H100` is meant to find every H100."""
    spelled = word.casefold()
    return max(
        1.0 if one.casefold() in spelled else SequenceMatcher(None, spelled, one.casefold()).ratio() for one in listed
    )


class _Words(NamedTuple):
    words: tuple[str, ...]
    positions: NDArray[np.int32]  # of each device of the offer; UNKNOWN: it has none


def _words(asked: Asked, field: str) -> _Words:
    offer = asked.offer
    if LISTS[field] == "node":
        return _Words(offer.members.nodes, offer.node)
    words, positions = number([getattr(key, LISTS[field]) for key in offer.groups])
    return _Words(words, positions[offer.group])


def _enough_with_one(asked: Asked, field: str) -> dict[str, int]:
    """Words of which each, let in alone, makes the request fit, and how many devices would fit then."""
    ground, (words, word) = asked.ground, _words(asked, field)
    extra = asked.without(field) & (asked.failing != 0) & (word != UNKNOWN)
    free = ground.free(asked.eligible)
    # How much more each place could give with the devices of each word, then the same of each domain.
    places = len(free)
    keys, more = np.unique(word[extra].astype(np.int64) * places + ground.places.of[extra], return_counts=True)
    place = keys % places if places else keys
    gain = ground.usable(free[place] + more) - ground.usable(free[place])
    room = ground.room(free)
    found, of = np.unique((keys // max(places, 1)) * len(room) + ground.places.domain[place], return_inverse=True)
    then = room[found % max(len(room), 1)] + np.bincount(of, weights=gain, minlength=len(found)).astype(np.int64)
    best = np.zeros(len(words), dtype=np.int64)
    np.maximum.at(best, found // max(len(room), 1), then)
    best = np.maximum(best, room.max(initial=0))
    return {words[i]: int(best[i]) for i in np.flatnonzero(best >= asked.request.count).tolist()}
