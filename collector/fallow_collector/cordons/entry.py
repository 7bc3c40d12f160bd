"""One owner's word that a device or a node is to get no new work, and when it holds."""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from fallow_collector.idle.phase import SERVICES
from fallow_collector.state import CordonRow
from fallow_proto.states import Service

OURS = "fallow"
"""The owner of what the collector itself cordons. Nobody speaks for it, so anybody with the role may lift its word."""


@dataclass(frozen=True, slots=True)
class Entry:
    """It holds while either of two clocks says so, and is over when both have passed its end.

    from_s, until_s: on the collector's monotonic clock. start, end: unix seconds, of a maintenance window. A plain
    cordon knows the monotonic clock only, so a jump of the wall clock lifts nothing. A window means the wall clock, and
    was reckoned on the monotonic one as well when it was made or taken up: so a wall clock that jumps over its end, or
    back before its beginning, does not end it early.
    """

    cordon_id: str
    kind: Service
    device: str  # uuid; empty: the whole node
    node: str
    owner: str
    reason: str
    since: float  # unix seconds
    from_s: float = -inf
    until_s: float = inf
    start: float = inf
    end: float = -inf

    @property
    def code(self) -> int:
        """Position in SERVICES; the higher, the worse."""
        return SERVICES.index(self.kind)

    @property
    def window(self) -> bool:
        return self.start < inf

    def active(self, now: float, wall: float) -> bool:
        return self.from_s <= now < self.until_s or self.start <= wall < self.end

    def over(self, now: float, wall: float) -> bool:
        return now >= self.until_s and wall >= self.end

    def left_s(self, now: float, wall: float) -> float:
        """Until it is over; inf: never."""
        return max(self.until_s - now, self.end - wall, 0.0)


class Clocks(NamedTuple):
    now: float  # monotonic seconds
    wall: float  # unix seconds


def reckoned(start: float, end: float, at: Clocks) -> tuple[float, float]:
    """(from_s, until_s) of a window on the wall clock, as the monotonic clock will show them if neither jumps."""
    return at.now + (start - at.wall), at.now + (end - at.wall)


def kept(entry: Entry, at: Clocks) -> CordonRow:
    """For the state file. What remains is kept of everything that ends, but of a window only once it has begun."""
    begun = entry.active(*at)
    return CordonRow(
        cordon_id=entry.cordon_id, kind=str(entry.kind), device=entry.device, node=entry.node, owner=entry.owner,
        reason=entry.reason, since_ms=_ms(entry.since),
        start_ms=_ms(entry.start) if entry.window else 0,
        end_ms=_ms(entry.end) if entry.window and entry.end < inf else 0,
        remaining_s=entry.left_s(*at) if (begun if entry.window else entry.until_s < inf) else None,
    )


def taken_up(row: CordonRow, at: Clocks) -> Entry:
    """From the state file. Time while the collector was down does not count against a cordon that was to last so long.

    A window that had begun goes on whatever the wall clock says now, for as long as remained of it; unless its end is
    nearer, which is what the wall clock shows when the collector was down for a part of it.
    """
    remaining = inf if row.remaining_s is None else row.remaining_s
    entry = Entry(
        cordon_id=row.cordon_id, kind=Service(row.kind), device=row.device, node=row.node, owner=row.owner,
        reason=row.reason, since=row.since_ms / 1000, until_s=at.now + remaining,
    )
    if not row.start_ms:
        return entry
    start, end = row.start_ms / 1000, row.end_ms / 1000 if row.end_ms else inf
    from_s, until_s = reckoned(start, end, at)
    if row.remaining_s is not None:
        from_s, until_s = -inf, min(until_s, entry.until_s)
    return Entry(
        entry.cordon_id, entry.kind, entry.device, entry.node, entry.owner, entry.reason, entry.since,
        from_s, until_s, start, end,
    )


def _ms(unix_s: float) -> int:
    return round(unix_s * 1000)
