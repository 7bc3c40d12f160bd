"""Live state of all devices, in arrays: a report is a block assignment, and what it says is judged in the same breath.

Not thread-safe: one thread, the event loop's, calls everything.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.arrival import Arrival
from fallow_collector.fleet.chunks import Chunk, columns, gather
from fallow_collector.fleet.roster import NOBODY, Registrar, Roster
from fallow_proto.metrics import Group

WITNESS_INTERVALS = 2.5
"""A value counts for so many of its intervals and is then unknown."""

CLOCK_DRIFT = 5e-4
"""How fast a node's clock may drift from ours before its reports look delayed; crystals stay below 2e-4."""

INHERITED = ("utilization_ratio", "compute_active_ratio", "recovery_action")
"""What a partition without numbers of its own shows: its parent's, since it is quiet when its parent is, and what its
driver asks for is asked of the whole board."""


class Observer(Registrar, Protocol):
    """Who judges. See idle.engine.Engine."""

    def observe(
        self,
        rows: NDArray[np.int32],
        values: NDArray[np.float64],
        reasons: NDArray[np.uint8],
        time_ms: NDArray[np.int64],
        interval_s: NDArray[np.float64],
        contiguous: NDArray[np.bool_],
    ) -> None: ...


class Fleet(Roster):
    """The roster, and what its devices say."""

    def __init__(self, observer: Observer, witnesses: tuple[str, ...]) -> None:
        super().__init__(observer)
        self._observer = observer
        self._witness_columns = columns(witnesses)
        self._inherits = [i for i, name in enumerate(witnesses) if name in INHERITED]
        self.absurd_values = 0

    def judged(self, node: str) -> tuple[str, int]:
        known = self.node(node)
        return (known.epoch, known.judged_seq) if known is not None and known.judged_seq else ("", 0)

    def apply(self, arrivals: Sequence[Arrival]) -> None:
        """Take reports into live state and have them judged, each node's in their order."""
        waves: list[list[Arrival]] = []
        contiguous: list[list[bool]] = []
        depth: dict[int, int] = {}
        for arrival in arrivals:
            follows = self._admit(arrival)
            if follows is None:
                continue
            wave = depth.get(arrival.node, 0)
            depth[arrival.node] = wave + 1
            if wave == len(waves):
                waves.append([])
                contiguous.append([])
            waves[wave].append(arrival)
            contiguous[wave].append(follows)
        try:
            for reports, unbroken in zip(waves, contiguous, strict=True):
                self._take(gather(reports), np.array(unbroken, dtype=np.bool_))
        except BaseException:
            # What was admitted and not judged is missing evidence, whatever the numbers of the reports say.
            for number in depth:
                self.last_ms[self.nodes[number].rows] = -1
            raise
        if self._claimants and arrivals:
            self.hand_over(max(arrival.receipt for arrival in arrivals))

    def _admit(self, arrival: Arrival) -> bool | None:
        """Whether the report follows on the node's last without a gap; None: not to be judged at all."""
        node = self.nodes[arrival.node]
        if arrival.epoch != node.epoch or arrival.seq <= node.judged_seq or arrival.time_ms <= node.judged_ms:
            return None
        follows = arrival.previous == node.judged_seq and node.judged_seq > 0
        node.judged_seq, node.judged_ms, node.heard_at = arrival.seq, arrival.time_ms, arrival.receipt
        offset = arrival.receipt - arrival.time_ms / 1000
        if node.offset is not None:
            offset = min(offset, node.offset + CLOCK_DRIFT * (arrival.receipt - node.offset_at))
        node.offset, node.offset_at = offset, arrival.receipt
        return follows

    def _take(self, chunks: list[Chunk], follows: NDArray[np.bool_]) -> None:
        """One report of each of many nodes: all its values first, then one judgement of each device it read fast."""
        fast = []
        for chunk in chunks:
            mine = (self.owner[chunk.rows] == chunk.node) & self.present[chunk.rows]
            self.absurd_values += chunk.absurd
            self._assign(chunk, mine)
            if chunk.group is Group.FAST and mine.any():
                fast.append((chunk, mine))
        if not fast:
            return
        rows, first = np.unique(np.concatenate([c.rows[mine] for c, mine in fast]), return_index=True)
        joined = {
            name: np.concatenate([getattr(c, name)[mine] for c, mine in fast])[first]
            for name in ("node", "report", "time_ms", "interval_s")
        }
        time_ms, interval_s = joined["time_ms"], joined["interval_s"]
        # A device may stand in several blocks, each of other columns: the worst that was said of it counts.
        reasons = np.zeros(self.count, dtype=np.uint8)
        for chunk, mine in fast:
            np.maximum.at(reasons, chunk.rows[mine], chunk.reasons[mine])
        # Nor is a partition better than its board.
        parts = rows[self.parent[rows] != NOBODY]
        reasons[parts] = np.maximum(reasons[parts], reasons[self.parent[parts]])
        gap_ms = time_ms - self.last_ms[rows]
        contiguous = follows[joined["report"]] & (gap_ms <= WITNESS_INTERVALS * 1000 * interval_s)
        self.last_ms[rows] = time_ms
        self.interval_s[rows] = interval_s
        self.seen_at[rows] = time_ms / 1000 + self._offsets(joined["node"])
        self._observer.observe(
            rows, self._witnesses(rows, time_ms), reasons[rows], time_ms, interval_s, contiguous
        )

    def _assign(self, chunk: Chunk, mine: NDArray[np.bool_]) -> None:
        rows = chunk.rows[mine]
        until = chunk.time_ms[mine] + (WITNESS_INTERVALS * 1000 * chunk.interval_s[mine]).astype(np.int64)
        for names, values in ((chunk.gauge_names, chunk.gauges), (chunk.counter_names, chunk.counters)):
            if names:
                at = (rows[:, None], columns(names)[None, :])
                self.values[at] = values[mine]
                self.good_until_ms[at] = until[:, None]

    def _witnesses(self, rows: NDArray[np.int32], time_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Values that still count, a partition's missing activity being its parent's."""
        values = self._counting(rows, time_ms)
        parents = self.parent[rows]
        partitions = np.flatnonzero((parents != NOBODY) & self.present[parents])
        if len(partitions):
            of_parent = self._counting(parents[partitions], time_ms[partitions])
            for column in self._inherits:
                own = values[partitions, column]
                values[partitions, column] = np.where(np.isnan(own), of_parent[:, column], own)
        return values

    def _counting(self, rows: NDArray[np.int32], time_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        at = (rows[:, None], self._witness_columns[None, :])
        return np.where(self.good_until_ms[at] >= time_ms[:, None], self.values[at], np.nan)

    def _offsets(self, numbers: NDArray[np.int32]) -> NDArray[np.float64]:
        unique, inverse = np.unique(numbers, return_inverse=True)
        offsets = np.array([self.nodes[number].offset for number in unique], dtype=np.float64)
        return offsets[inverse]

    def age_s(self, now: float) -> NDArray[np.float64]:
        """Seconds since each device's newest reading, delay in the wire included; inf: none yet.

        Of a device that no reader reads: since the newest one of its node.
        """
        seen_at, unread = self.seen_at[: self.count], self.unread[: self.count]
        if unread.any():
            owner = self.owner[: self.count]
            of_node = np.full(len(self.nodes) + 1, -np.inf)  # the last: nobody's
            np.maximum.at(of_node, owner, seen_at)
            seen_at = np.where(unread, of_node[owner], seen_at)
        return np.maximum(now - seen_at, 0.0)

    def current(self) -> NDArray[np.float64]:
        """float64[count, metrics] of what counted at each device's newest reading."""
        last = self.last_ms[: self.count]
        return np.where(self.good_until_ms[: self.count] >= last[:, None], self.values[: self.count], np.nan)
