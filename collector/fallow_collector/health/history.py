"""What happened to one device or node in the last day: like things as one, so that a storm stays small."""

from collections.abc import Iterator
from typing import NamedTuple

from fallow_collector.health.happening import JOBS_KEPT, Happening

KEPT = 1024
"""Most happenings of one subject; an hour of 17 kinds that each come back after every pause."""


class Cure(NamedTuple):
    """Something that ends what was wrong before it."""

    kind: str  # a key of fold.TOLD
    at_ms: int
    epoch: str  # what this run of the agent told is from after the cure; empty: it tells nothing of that


class History:
    """Not thread-safe."""

    def __init__(self, silence_ms: int) -> None:
        """silence_ms: for so long nothing like it must come for the next to be a happening of its own."""
        self._silence_ms = silence_ms
        self._happenings: list[Happening] = []
        self._newest: dict[tuple[object, ...], Happening] = {}
        self._counted: dict[str, tuple[Happening, int]] = {}  # by event: what it counts towards, and its part of that
        self.cures: list[Cure] = []

    def __iter__(self) -> Iterator[Happening]:
        return iter(self._happenings)

    def __len__(self) -> int:
        return len(self._happenings)

    def add(self, new: Happening) -> None:
        """An event again, with a higher count, replaces itself."""
        known = self._counted.get(new.event)
        if known is not None:
            self._counted[new.event] = (known[0], new.count)
            self._grow(known[0], new, new.count - known[1])
            return
        key = (new.kind, new.code, new.meaning, new.epoch)
        happening = self._newest.get(key)
        if happening is None or new.first_ms - happening.last_ms > self._silence_ms or (
            happening.first_ms - new.last_ms > self._silence_ms
        ):
            self._happenings.append(new)
            self._newest[key] = new
            self._counted[new.event] = (new, new.count)
            self._bound()
            return
        self._counted = {event: part for event, part in self._counted.items() if part[0] is not happening}
        self._counted[new.event] = (happening, new.count)
        self._grow(happening, new, new.count)

    def cure(self, cure: Cure) -> None:
        if cure not in self.cures:
            self.cures.append(cure)

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
