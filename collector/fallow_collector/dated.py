"""When something happened, on the collector's own wall clock: what a node tells whose clock is wrong is neither
forgotten at once nor in force for years."""

from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.registry import Node
from fallow_collector.state import EventRow

RIGHT_S = 2.0
"""A clock that is off by less is right, and the wire may have taken as long."""


def dated(row: EventRow, fleet: Fleet, now: float, wall: float) -> EventRow:
    """The event with its times on our wall clock; as they came if they are of an earlier epoch of its node's, whose
    clock was another. now: monotonic; wall: unix seconds."""
    node = fleet.node(row.node)
    if node is None or node.epoch != row.epoch:
        return row
    off_ms = off_by_ms(node, now, wall)
    return row._replace(first_ms=row.first_ms - off_ms, last_ms=row.last_ms - off_ms) if off_ms else row


def is_datable(row: EventRow, fleet: Fleet) -> bool:
    """Whether nothing more will be known of its node's clock: it has said so by its reports, or has gone."""
    node = fleet.node(row.node)
    return node is None or node.epoch != row.epoch or node.offset is not None or not node.connected


def off_by_ms(node: Node, now: float, wall: float) -> int:
    """By how much a node's clock is ahead of ours; 0 also where that is not known yet."""
    ahead_s = node.ahead_s(now, wall)
    return round(ahead_s * 1000) if abs(ahead_s) > RIGHT_S else 0
