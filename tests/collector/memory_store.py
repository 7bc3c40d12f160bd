"""A store in memory: keeps the protocol of stores.store, and can be told to be down."""

from collections import Counter

import numpy as np

from fallow_collector.stores.store import Batch, HistoryQuery, Outcome, Source, Span, StoreError, Table
from fallow_proto.ranges import RangeSet


class MemoryStore:
    def __init__(self) -> None:
        self.down = ""  # why every write and open fails; empty: they do not
        self.rows = 0
        self.copies: Counter[tuple[Source, int]] = Counter()  # how often each number was stored
        self.ranges: dict[Source, RangeSet] = {}
        self.batches: list[Batch] = []
        self.unsettled: list[Span] = []
        self.settling = False  # commits count only after the next poll
        self.opens = 0
        self.closed = False

    def open(self) -> dict[Source, RangeSet]:
        self.opens += 1
        self._check()
        return {source: RangeSet(ranges) for source, ranges in self.ranges.items()}

    def write(self, batch: Batch, now: float) -> Outcome:
        self._check()
        self.batches.append(batch)
        self.rows += sum(len(rows.time_ms) for rows in batch.rows)
        for source, lo, hi in batch.spans:
            self.copies.update((source, number) for number in range(lo, hi + 1))
        if self.settling:
            self.unsettled += batch.spans
            return Outcome()
        return self._settle(list(batch.spans))

    def poll(self, now: float) -> Outcome:
        self._check()
        settled, self.unsettled = self.unsettled, []
        return self._settle(settled)

    def lose_unsettled(self) -> Outcome:
        """What a kill -9 of the server does to what it had not settled."""
        lost, self.unsettled = self.unsettled, []
        for source, lo, hi in lost:
            self.copies.subtract((source, number) for number in range(lo, hi + 1))
        return Outcome(resend=lost)

    def maintain(self, now: float) -> None:
        self._check()

    def history(self, query: HistoryQuery) -> Table:
        return Table(np.zeros(0), np.zeros((0, len(query.columns))))

    def facts(self) -> dict[str, float]:
        return {"rows": float(self.rows)}

    def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self.down:
            raise StoreError(self.down)

    def _settle(self, spans: list[Span]) -> Outcome:
        for source, lo, hi in spans:
            self.ranges.setdefault(source, RangeSet()).add(lo, hi)
        return Outcome(committed=spans)
