"""What has come from each agent, and what became of it, so that nothing is lost and nothing doubled."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from fallow_collector.series import Source
from fallow_proto.ranges import RangeSet

EPOCHS_KEPT = 512
"""Epochs remembered for a node beside the ones that its Hello names. An agent that is restarted every ten seconds
makes 360 an hour, and its spool names those it still holds, so a forgotten one does not come back."""


@dataclass(slots=True)
class Ranges:
    """Sequence numbers of one source; a number is in at most one of the three sets."""

    stored: RangeSet = field(default_factory=RangeSet)  # in the store for good
    pending: RangeSet = field(default_factory=RangeSet)  # on the way to the store
    dropped: RangeSet = field(default_factory=RangeSet)  # not taken for want of room: to be asked for again

    def take(self, seq: int) -> bool:
        """Whether this number is new, so that it has to be stored; it is pending from now on."""
        if seq in self.stored or seq in self.pending:
            return False
        self.pending.add(seq, seq)
        if self.dropped:
            self.dropped.remove(seq, seq)
        return True

    def commit(self, lo: int, hi: int) -> None:
        self.pending.remove(lo, hi)
        self.stored.add(lo, hi)

    def forget(self, lo: int, hi: int) -> None:
        """As if it had never come: the next copy is taken."""
        self.pending.remove(lo, hi)

    def drop(self, lo: int, hi: int) -> None:
        self.pending.remove(lo, hi)
        self.dropped.add(lo, hi)


class Received:
    """The ranges of every source."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, Ranges]] = {}
        self._dropped: dict[Source, None] = {}  # in the order in which they were first dropped
        self._noticed: dict[Source, float] = {}  # since when something of these is known to be dropped

    def of(self, node: str, epoch: str) -> Ranges:
        epochs = self._nodes.setdefault(node, {})
        ranges = epochs.get(epoch)
        if ranges is None:
            ranges = epochs[epoch] = Ranges()
        return ranges

    def learn(self, stored: Iterable[tuple[Source, Iterable[tuple[int, int]]]]) -> None:
        """Add what a store says that it has for good; nobody has to ask for that again."""
        for (node, epoch), pairs in stored:
            ranges = self.of(node, epoch)
            for lo, hi in pairs:
                ranges.commit(lo, hi)
                ranges.dropped.remove(lo, hi)

    def stored(self, node: str, epochs: Iterable[str]) -> Mapping[str, RangeSet]:
        """What the store has of these epochs of a node."""
        known = self._nodes.get(node, {})
        return {epoch: known[epoch].stored for epoch in epochs if epoch in known}

    def dropped(self, node: str, epoch: str, lo: int, hi: int) -> None:
        self.of(node, epoch).drop(lo, hi)
        self._dropped[Source(node, epoch)] = None

    def claim_dropped(self) -> Iterator[tuple[Source, RangeSet]]:
        """Hand over all that was dropped and not come again since; it is no longer remembered here."""
        sources, self._dropped = self._dropped, {}
        for source in sources:
            ranges = self.of(*source)
            claimed, ranges.dropped = ranges.dropped, RangeSet()
            if claimed:
                yield source, claimed

    def unacknowledged(self, waiting_since: float, now: float) -> dict[str, float]:
        """Nodes of which something came that the store does not have, and since when. waiting_since: of what is on its
        way to the store; what was dropped is timed from the first of these calls that sees it. Monotonic seconds."""
        found = {}
        for node, epochs in self._nodes.items():
            for ranges in epochs.values():
                if ranges.pending:
                    found[node] = waiting_since
                    break
        self._noticed = {
            source: self._noticed.get(source, now) for source in self._dropped if self.of(*source).dropped
        }
        for source, since in self._noticed.items():
            found[source.node] = min(since, found.get(source.node, since))
        return found

    def greet(self, node: str, epochs: Iterable[str]) -> None:
        """A new stream of this node named these epochs: it is told what is stored and sends the rest unasked."""
        known = self._nodes.get(node, {})
        for ranges in known.values():
            ranges.dropped = RangeSet()
        named = set(epochs)
        spare = [epoch for epoch, ranges in known.items() if epoch not in named and not ranges.pending]
        for epoch in spare[: max(0, len(spare) - EPOCHS_KEPT)]:
            del known[epoch]
