"""One epoch: its clock, its numbers, its events. Reports and events share the numbers, and so their acknowledgement."""

from fallow_agent.clock import Clock
from fallow_agent.events import Events
from fallow_agent.happening import Happening
from fallow_agent.sampler import Sampler
from fallow_agent.spool.item import Item


class Epoch:
    """All moments are boot-time seconds."""

    def __init__(self, name: str, wall: float, boot: float) -> None:
        """wall: unix seconds at the moment `boot`."""
        self.name = name
        self._clock = Clock(wall, boot)
        self._events = Events()
        self._seq = 0
        self._previous = 0

    def time_ms(self, boot: float) -> int:
        return self._clock.time_ms(boot)

    def note(self, happened: Happening, at: float) -> bool:
        """Something happened at the moment `at`. Whether it begins a new event."""
        return self._events.note(happened, self.time_ms(at), at)

    def report(self, sampler: Sampler, boot: float) -> Item:
        """The sampler's report under the next number."""
        self._seq += 1
        report = sampler.report(self._seq, self._previous, self.time_ms(boot))
        self._previous = self._seq
        return Item(self.name, self._seq, report.time_ms, report.SerializeToString(), sampler.layout)

    def events(self, boot: float, *, last: bool = False) -> list[Item]:
        """The events that are to be told now, each under a number of its own. last: the epoch ends."""
        items = []
        for event in self._events.due(boot, last=last):
            self._seq += 1
            event.seq = self._seq
            items.append(Item(self.name, self._seq, event.last_ms, event.SerializeToString(), event=event.id))
        return items

    def outlived(self, wall: float, boot: float) -> float | None:
        """By how many seconds the wall clock has been off for so long that another epoch must begin, or None."""
        self._clock = self._clock.compared(wall, boot)
        return self._clock.off_s(wall, boot) if self._clock.is_outdated(boot) else None
