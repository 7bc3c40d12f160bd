"""What the agent still has to get stored, and how much of it this stream has carried. Nothing but sequence numbers."""

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
        self._carried: dict[str, RangeSet] = {}  # sent on earlier streams since the last Welcome, and not acknowledged
        self._doubtful: dict[str, RangeSet] = {}  # sent, and gone from the spool: the store has them, or nobody

    def hold(self, ranges: Ranges) -> None:
        merge(self.held, ranges)

    def settle(self, ranges: Ranges) -> None:
        """Acknowledged or refused: nothing more is to be done about them."""
        self.forget(ranges)
        _take_out(self._doubtful, ranges)

    def forget(self, ranges: Ranges) -> None:
        """They are not there to be sent."""
        for numbers in (self.held, self._sent, self._backlog, self._carried):
            _take_out(numbers, ranges)

    def let_go(self, ranges: Ranges) -> int:
        """The spool dropped them: how many of them the store cannot have. What was sent it may have all the same."""
        doubtful: dict[str, RangeSet] = {}
        for epoch, pairs in ranges.items():
            sent = RangeSet(self._sent.get(epoch, ()))
            sent.update(self._carried.get(epoch, ()))
            doubtful[epoch] = RangeSet(pairs)
            for lo, hi in pairs:
                for gap in sent.missing(lo, hi):
                    doubtful[epoch].remove(*gap)
        self.forget(ranges)
        merge(self._doubtful, doubtful)
        return _many(ranges) - _many(doubtful)

    def written_off(self) -> int:
        """A Welcome has said what the store has, and that was settled: how many of those let go nobody has."""
        many = _many(self._doubtful)
        self._carried = {}
        self._doubtful = {}
        return many

    def begin_stream(self) -> None:
        merge(self._carried, self._sent)
        self._sent = {}
        self._backlog = {}

    def send(self, epoch: str, seq: int, *, backlog: bool) -> None:
        self._sent.setdefault(epoch, RangeSet()).add(seq, seq)
        if backlog:
            self._backlog.setdefault(epoch, RangeSet()).add(seq, seq)

    def ask_again(self, ranges: Ranges) -> int:
        """The store lost them: how many of them the spool had let go meanwhile, so that nobody has them."""
        for numbers in (self._sent, self._backlog):
            _take_out(numbers, ranges)
        before = _many(self._doubtful)
        _take_out(self._doubtful, ranges)
        return before - _many(self._doubtful)

    def is_unsent(self, epoch: str, seq: int) -> bool:
        return seq in self.held.get(epoch, ()) and seq not in self._sent.get(epoch, ())

    def next_unsent(self) -> tuple[str, int, int] | None:
        """The oldest epoch that holds what this stream has not carried: from which number, and the last it holds."""
        for epoch, held in self.held.items():
            sent = self._sent.get(epoch) or RangeSet()
            pairs = list(held)
            for lo, hi in pairs:
                for first, _ in sent.missing(lo, hi):
                    return epoch, first, pairs[-1][1]
        return None

    def backlog_in_flight(self) -> int:
        """Reports sent for the store only, and not acknowledged."""
        return sum(map(len, self._backlog.values()))

    def for_hello(self, first: str = "") -> dict[str, list[tuple[int, int]]]:
        """What is held, in as many words as a collector listens to; epochs from `first` on, else from the oldest."""
        epochs = list(self.held)
        start = epochs.index(first) if first in self.held else 0
        named = {}
        for epoch in (epochs[start:] + epochs[:start])[:_EPOCHS]:
            ranges = list(self.held[epoch])
            named[epoch] = ranges if len(ranges) <= _RANGES else [(ranges[0][0], ranges[-1][1])]
        return named


def _many(ranges: Ranges) -> int:
    return sum(map(len, ranges.values()))


def _take_out(numbers: dict[str, RangeSet], ranges: Ranges) -> None:
    for epoch, pairs in ranges.items():
        if (left := numbers.get(epoch)) is None:
            continue
        for lo, hi in pairs:
            left.remove(lo, hi)
        if not left:
            del numbers[epoch]
