"""From a layout on the wire to rows and columns of the fleet's arrays, once per layout and stream."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fallow_proto.codec import layout_hash
from fallow_proto.metrics import BY_NAME, COLUMN, Group, Kind
from fallow_proto.v1 import telemetry_pb2 as pb


class LayoutError(ValueError):
    """A layout or report does not fit what its node said before; the message says how."""


@dataclass(frozen=True, slots=True, eq=False)
class BoundBlock:
    """One block of a layout, resolved.

    rows: int32[devices], rows of the fleet; series: int32[devices], positions in Fleet.series. gauge_pick,
    counter_pick: which of the wire's columns are known here (a newer agent may send more).
    """

    group: Group
    interval_s: float
    rows: NDArray[np.int32]
    series: NDArray[np.int32]
    wire_gauges: int
    wire_counters: int
    gauge_pick: NDArray[np.intp] | None  # None: all of them, in order
    counter_pick: NDArray[np.intp] | None
    gauge_names: tuple[str, ...]
    counter_names: tuple[str, ...]

    @property
    def shape(self) -> tuple[Group, tuple[str, ...], tuple[str, ...]]:
        return self.group, self.gauge_names, self.counter_names


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    node: int
    blocks: tuple[BoundBlock, ...]


class Rows(Protocol):
    """What binding asks of the fleet."""

    def row_of(self, node: int, uuid: str) -> int | None:
        """The row of a device that the node reports."""

    def series_of(self, row: int, node: int) -> int:
        """Position in `Fleet.series` of the tags of the row's device under this node."""


def bind(fleet: Rows, node: int, layout: pb.Layout) -> Binding:
    """Resolve a layout for a node. Raises LayoutError."""
    if layout.hash != layout_hash(layout.blocks):
        raise LayoutError("the layout's hash is not that of its blocks")
    return Binding(node, tuple(_bind_block(fleet, node, block) for block in layout.blocks))


def _bind_block(fleet: Rows, node: int, block: pb.Block) -> BoundBlock:
    try:
        group = Group(block.group)
    except ValueError as error:
        raise LayoutError(f"group {block.group!r}, expected one of {', '.join(Group)}") from error
    if not 0.01 <= block.interval_s <= 3600:
        raise LayoutError(f"interval of {block.interval_s} s, expected 0.01 to 3600")
    rows = []
    for uuid in block.devices:
        row = fleet.row_of(node, uuid)
        if row is None:
            raise LayoutError(f"device {uuid!r} is not in the node's Hello")
        rows.append(row)
    if len(set(rows)) != len(rows):
        raise LayoutError("a device stands twice in one block")
    gauge_names, gauge_pick = _pick(block.gauges, Kind.GAUGE)
    counter_names, counter_pick = _pick(block.counters, Kind.COUNTER)
    return BoundBlock(
        group=group,
        interval_s=block.interval_s,
        rows=np.array(rows, dtype=np.int32),
        series=np.array([fleet.series_of(row, node) for row in rows], dtype=np.int32),
        wire_gauges=len(block.gauges),
        wire_counters=len(block.counters),
        gauge_pick=gauge_pick,
        counter_pick=counter_pick,
        gauge_names=gauge_names,
        counter_names=counter_names,
    )


def _pick(names: Iterable[str], kind: Kind) -> tuple[tuple[str, ...], NDArray[np.intp] | None]:
    wire = list(names)
    known = [i for i, name in enumerate(wire) if name in BY_NAME and BY_NAME[name].kind is kind]
    if len({wire[i] for i in known}) != len(known):
        raise LayoutError("a metric stands twice in one block")
    pick = None if len(known) == len(wire) else np.array(known, dtype=np.intp)
    return tuple(wire[i] for i in known), pick


def columns_of(names: tuple[str, ...]) -> NDArray[np.intp]:
    return np.array([COLUMN[name] for name in names], dtype=np.intp)
