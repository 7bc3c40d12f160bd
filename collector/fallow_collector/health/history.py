"""What happened to one device or node in the last day: like things as one, so that a storm stays small."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from fallow_collector.health.happening import JOBS_KEPT, Happening

KEPT = 1024
"""Most happenings of one subject; an hour of 17 kinds that each come back after every pause."""

SAYS_MORE = "kernel"
"""Who says more than a number: NVML gives that of an Xid, and the kernel's line what it means."""


class Cure(NamedTuple):
    """Something that ends what was wrong before it."""

    kind: str  # a key of fold.TOLD
    at_ms: int
    epoch: str  # what this run of the agent told is from after the cure; empty: it tells nothing of that
    code: int | None = None  # it ends only what has this code


class History:
    """Not thread-safe."""

    def __init__(self, silence_ms: int) -> None:
        """silence_ms: for so long nothing like it must come for the next to be a happening of its own."""
        self._silence_ms = silence_ms
        self._happenings: list[Happening] = []
        self._newest: dict[tuple[object, ...], Happening] = {}
        self._counted: dict[str, tuple[Happening, int]] = {}  # by event: what it counts towards now, its newest count
        self.cures: list[Cure] = []

    def __iter__(self) -> Iterator[Happening]:
        return iter(self._happenings)

    def __len__(self) -> int:
        return len(self._happenings)

    def add(self, new: Happening) -> None:
        """An event again, with a higher count, replaces itself; what it says now, it says beside what it said."""
        said, told = self._counted.get(new.event, (None, 0))
        more = new.count - told
        if said is None:
            self._place(new, new.count)
        elif new.meaning != said.meaning and more > 0:
            self._place(replace(new, first_ms=new.last_ms, count=more), new.count)
        elif new.meaning != said.meaning and new.source == SAYS_MORE != said.source:
            self._retell(said, new, told)
        else:
            self._counted[new.event] = (said, max(new.count, told))
            self._grow(said, new, more)

    def _retell(self, said: Happening, new: Happening, told: int) -> None:
        """What one witness gave the number of, another gives the words for."""
        said.count -= 1
        if said.count <= 0:
            self._keep([each for each in self._happenings if each is not said])
        self._place(replace(new, count=1), told)

    def _place(self, new: Happening, told: int) -> None:
        """told: how often its event has happened in all."""
        key = (new.kind, new.code, new.meaning, new.epoch)
        happening = self._newest.get(key)
        if happening is None or new.first_ms - happening.last_ms > self._silence_ms or (
            happening.first_ms - new.last_ms > self._silence_ms
        ):
            self._happenings.append(new)
            self._newest[key] = new
            self._counted[new.event] = (new, told)
            self._bound()
            return
        self._counted = {event: part for event, part in self._counted.items() if part[0] is not happening}
        self._counted[new.event] = (happening, told)
        self._grow(happening, new, new.count)

    def cure(self, cure: Cure) -> None:
        if cure not in self.cures:
            self.cures.append(cure)

    def shift(self, by_ms: int) -> None:
        """The clock that all times are of was set by so much."""
        for each in self._happenings:
            each.first_ms += by_ms
            each.last_ms += by_ms
        self.cures = [cure._replace(at_ms=cure.at_ms + by_ms) for cure in self.cures]

    def forget(self, before_ms: int) -> None:
        """What ended before."""
        self._keep([each for each in self._happenings if each.last_ms >= before_ms])
        self.cures = [cure for cure in self.cures if cure.at_ms >= before_ms]

    def _grow(self, happening: Happening, new: Happening, more: int) -> None:
        happening.count += max(more, 0)
        if new.last_ms >= happening.last_ms:
            happening.last_ms, happening.message = new.last_ms, new.message
        happening.first_ms = min(happening.first_ms, new.first_ms)
        if len(happening.jobs) < JOBS_KEPT:
            happening.jobs |= new.jobs

    def _bound(self) -> None:
        if len(self._happenings) > KEPT:
            self._keep(sorted(self._happenings, key=lambda each: each.last_ms)[-KEPT:])

    def _keep(self, happenings: list[Happening]) -> None:
        if len(happenings) == len(self._happenings):
            return
        kept = {id(each) for each in happenings}
        self._happenings = happenings
        self._newest = {key: each for key, each in self._newest.items() if id(each) in kept}
        self._counted = {event: part for event, part in self._counted.items() if id(part[0]) in kept}
