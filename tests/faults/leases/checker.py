"""Whether a history of one device is linearizable: whether each call can be given a moment between its invocation and
its answer so that, one after the other, they do to the register what they were told.

Wing and Gong's search ("Testing and verifying concurrent objects", 1993) with Lowe's memory of where it has been
("Testing for linearizability", 2017). What changes nothing is placed as soon as it can be: it takes nothing from what
follows. So the search branches only where a device changes hands, and stays short for any length of history.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import inf
from typing import NamedTuple

from tests.faults.leases.register import TAKING, Kind, Register, after, freed


class Step(NamedTuple):
    """What happened to a lease of the device. answered: it has happened by then. must: False for what may have happened
    or not, such as a call without an answer, or the end of a TTL."""

    invoked: float
    answered: float
    kind: Kind
    token: int = 0
    who: str = ""
    must: bool = True

    def __str__(self) -> str:
        name = self.kind.name.lower().replace("_", " ")
        return f"{name} {self.token or ''} {self.who} [{self.invoked:.3f}, {self.answered:.3f}]".replace("  ", " ")


class _Place(NamedTuple):
    """How far a search is: all steps before `first` are placed, and those of `more`."""

    first: int
    more: frozenset[int]
    register: Register


def stuck_at(steps: Iterable[Step]) -> list[Step]:
    """Steps of which none can come next, at the furthest that any order leads to; none: the history is linearizable."""
    steps = sorted(steps, key=lambda step: step.invoked)
    search = _Search([step for step in steps if step.must], [step for step in steps if not step.must])
    return search.run()


class _Search:
    def __init__(self, steps: list[Step], chances: list[Step]) -> None:
        self._steps = steps
        self._of_token: defaultdict[int, list[Step]] = defaultdict(list)
        for chance in chances:
            if chance.kind not in TAKING:
                self._of_token[chance.token].append(chance)
        self._takings = [chance for chance in chances if chance.kind in TAKING]
        self._tokens = sorted(step.token for step in steps if step.kind in TAKING)

    def run(self) -> list[Step]:
        start = self._settled(_Place(0, frozenset(), Register()))
        seen, open_, furthest = {start}, [start], start
        while open_:
            place = open_.pop()
            if place.first == len(self._steps):
                return []
            furthest = max(furthest, place, key=lambda each: each.first + len(each.more))
            for following in self._next(place):
                following = self._settled(following)
                if following not in seen:
                    seen.add(following)
                    open_.append(following)
        return [self._steps[at] for at in self._window(furthest)[0]]

    def _window(self, place: _Place) -> tuple[list[int], float]:
        """Steps of which one comes next, and until when: none of them may come after another's answer."""
        found, until, at = [], inf, place.first
        while at < len(self._steps) and self._steps[at].invoked <= until:
            if at not in place.more:
                found.append(at)
                until = min(until, self._steps[at].answered)
            at += 1
        return [at for at in found if self._steps[at].invoked <= until], until

    def _settled(self, place: _Place) -> _Place:
        """With all steps placed that can be and change nothing."""
        while True:
            window, _ = self._window(place)
            idle = {
                at for at in window
                if after(place.register, self._steps[at].kind, self._steps[at].token) == place.register
            }
            if not idle:
                return place
            place = _moved(place, idle, place.register)

    def _next(self, place: _Place) -> Iterator[_Place]:
        window, until = self._window(place)
        register = place.register
        # Tokens rise: whoever took it next has the lowest of those above, or that one could never be placed.
        rank = bisect_right(self._tokens, register.token)
        highest = self._tokens[rank] if rank < len(self._tokens) else inf
        takings = [taking for taking in self._takings if taking.token < highest]
        for chance in self._of_token[register.token] + takings:
            if chance.invoked <= until and (then := after(register, chance.kind, chance.token)) is not None:
                yield place._replace(register=then)
        if (then := freed(register)) is not None:
            yield place._replace(register=then)
        for at in window:
            step = self._steps[at]
            if step.kind in TAKING and step.token > highest:
                continue
            if (then := after(register, step.kind, step.token)) is not None:
                yield _moved(place, {at}, then)


def _moved(place: _Place, placed: set[int], register: Register) -> _Place:
    more = place.more | placed
    first = place.first
    while first in more:
        first += 1
    return _Place(first, frozenset(at for at in more if at >= first), register)
