"""The last seconds of reports in memory, acknowledged or not: the evidence that a collector needs after a cut.

A position is how many reports were put in before; it stays true when old ones are dropped.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from fallow_agent.spool.item import Item

EVIDENCE_S = 120.0
LONGEST_S = 900.0  # whatever a collector asks for


class _Kept(NamedTuple):
    at: float
    report: Item


class Ring:
    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque()
        self._dropped = 0
        self._evidence_s = EVIDENCE_S

    @property
    def start(self) -> int:
        """Position of the oldest report that is still here."""
        return self._dropped

    @property
    def end(self) -> int:
        """Position of the report that comes next."""
        return self._dropped + len(self._kept)

    def keep_for(self, evidence_s: float) -> None:
        """Seconds to keep reports for; what is no length of time is ignored."""
        if evidence_s > 0:
            self._evidence_s = min(evidence_s, LONGEST_S)

    def put(self, report: Item, now: float) -> None:
        """now: boot-time seconds, rising."""
        self._kept.append(_Kept(now, report))
        while now - self._kept[0].at > self._evidence_s:
            self._kept.popleft()
            self._dropped += 1

    def position_after(self, epoch: str, seq: int) -> int:
        """Where evidence begins for whom judged this one last: all of it if it is of no epoch that is here."""
        position = self._dropped
        for number, kept in enumerate(self._kept, self._dropped):
            if kept.report.epoch == epoch and kept.report.seq <= seq:
                position = number + 1
        return position

    def since(self, position: int) -> Iterator[Item]:
        """Reports from a position on, oldest first, as far as they are still here."""
        for kept in islice(self._kept, max(0, position - self._dropped), None):
            yield kept.report
