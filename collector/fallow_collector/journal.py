"""Events that the collector itself makes, beside those of the agents; they wait here until the state has them."""

import logging
from collections import deque
from collections.abc import Callable

from fallow_collector.state import OWN_EVENT, EventRow
from fallow_proto.states import EventKind

PENDING = 20_000
"""Events that wait for a disk that does not take them; when there are more, the oldest go, and that is counted."""

log = logging.getLogger(__name__)


class Journal:
    """Not thread-safe: one thread, the event loop's, calls everything.

    run: a random id of this run of the collector, the epoch of its events. wall: unix seconds.
    """

    def __init__(self, run: str, wall: Callable[[], float]) -> None:
        self.dropped = 0
        self._run = run
        self._wall = wall
        self._seq = 0
        self._waiting: deque[EventRow] = deque()

    def note(self, kind: EventKind, node: str, device: str, message: str, source: str = "") -> None:
        """Something happened, now. device: its uuid; empty: it concerns the node. source: who said so, if not we."""
        self._seq += 1
        at = int(self._wall() * 1000)
        self._waiting.append(EventRow(
            node=node, epoch=self._run, id=f"{OWN_EVENT}{self._seq}", seq=self._seq, kind=str(kind), device=device,
            many=1, first_ms=at, last_ms=at, message=message, source=source,
        ))
        log.info("event=%s node=%s device=%s message=%r", kind, node, device or "-", message)
        self._bound()

    def waiting(self) -> list[EventRow]:
        """Hand over what the state does not have yet, oldest first."""
        rows = list(self._waiting)
        self._waiting.clear()
        return rows

    def put_back(self, rows: list[EventRow]) -> None:
        """They could not be kept now."""
        self._waiting.extendleft(reversed(rows))
        self._bound()

    def _bound(self) -> None:
        while len(self._waiting) > PENDING:
            self._waiting.popleft()
            if not self.dropped:
                log.error("the state takes no events, and %d wait: the oldest are dropped from now on", PENDING)
            self.dropped += 1
