"""What the agent still has to get stored, and how much of it this stream has carried. Nothing but sequence numbers."""

from collections.abc import Iterator

from fallow_agent.spool.item import Ranges, merge
from fallow_proto.ranges import RangeSet

_RANGES = 100  # of one epoch in one Hello; with more, the gaps are left out
_EPOCHS = 1_000  # in one Hello; a collector takes 1,024


class Unacknowledged:
    """`held` may name numbers that the spool does not have (an event that a later one replaced), never less."""

    def __init__(self) -> None:
        self.held: dict[str, RangeSet] = {}
        self._sent: dict[str, RangeSet] = {}  # on this stream, not acknowledged
        self._backlog: dict[str, RangeSet] = {}  # of these, the ones that were sent for the store only

    def hold(self, ranges: Ranges) -> None:
        merge(self.held, ranges)

    def settle(self, ranges: Ranges) -> None:
        """Acknowledged, refused, or gone: nothing more is to be done about them."""
        for numbers in (self.held, self._sent, self._backlog):
            _take_out(numbers, ranges)

    def begin_stream(self) -> None:
        self._sent = {}
        self._backlog = {}

    def send(self, epoch: str, seq: int, *, backlog: bool) -> None:
        self._sent.setdefault(epoch, RangeSet()).add(seq, seq)
        if backlog:
            self._backlog.setdefault(epoch, RangeSet()).add(seq, seq)

    def ask_again(self, ranges: Ranges) -> None:
        """The store lost them."""
        for numbers in (self._sent, self._backlog):
            _take_out(numbers, ranges)

    def is_unsent(self, epoch: str, seq: int) -> bool:
        return seq in self.held.get(epoch, ()) and seq not in self._sent.get(epoch, ())

    def unsent(self) -> Iterator[tuple[str, int, int]]:
        """Epoch and range lo..hi of what this stream has not carried, oldest first."""
        for epoch, held in self.held.items():
            sent = self._sent.get(epoch) or RangeSet()
            for lo, hi in held:
                for first, last in sent.missing(lo, hi):
                    yield epoch, first, last

    def backlog_in_flight(self) -> int:
        """Reports sent for the store only, and not acknowledged."""
        return sum(map(len, self._backlog.values()))

    def for_hello(self) -> dict[str, list[tuple[int, int]]]:
        """What is held, in as many words as a collector listens to: first the epochs that wait to be sent."""
        named = {}
        for epoch in list(dict.fromkeys([*(epoch for epoch, _, _ in self.unsent()), *self.held]))[:_EPOCHS]:
            ranges = list(self.held[epoch])
            named[epoch] = ranges if len(ranges) <= _RANGES else [(ranges[0][0], ranges[-1][1])]
        return named


def _take_out(numbers: dict[str, RangeSet], ranges: Ranges) -> None:
    for epoch, pairs in ranges.items():
        if (left := numbers.get(epoch)) is None:
            continue
        for lo, hi in pairs:
            left.remove(lo, hi)
        if not left:
            del numbers[epoch]
