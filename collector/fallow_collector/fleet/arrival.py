"""A report on its way through the stages: decoded once, then judged, stored, or both."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.layouts import Binding, BoundBlock, LayoutError
from fallow_proto.v1 import telemetry_pb2 as pb


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """One block's numbers.

    gauges float32[devices, gauges], counters float64[devices, counters], reasons uint8[devices].
    """

    block: BoundBlock
    gauges: NDArray[np.float32]
    counters: NDArray[np.float64]
    reasons: NDArray[np.uint8] | None  # None: all REASON_OK


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    node: int  # the fleet's number of the node
    epoch: str
    seq: int
    previous: int
    time_ms: int  # the agent's stamp
    receipt: float  # the collector's monotonic clock, seconds
    values: tuple[Values, ...]


def decode(binding: Binding, epoch: str, report: pb.Report, receipt: float) -> Arrival:
    """Numbers out of a report. Raises LayoutError when they are not as many as the layout says."""
    values = []
    seen = set()
    for readings in report.readings:
        if readings.block >= len(binding.blocks) or readings.block in seen:
            raise LayoutError(f"block {readings.block} twice or beyond the layout's {len(binding.blocks)}")
        seen.add(readings.block)
        values.append(_decode_block(binding.blocks[readings.block], readings))
    return Arrival(
        binding.node, epoch, report.seq, report.previous, report.time_ms, receipt, tuple(values)
    )


def _decode_block(block: BoundBlock, readings: pb.Readings) -> Values:
    devices = len(block.rows)
    gauges = np.array(readings.gauges, dtype=np.float32)
    counters = np.array(readings.counters, dtype=np.float64)
    if gauges.size != devices * block.wire_gauges or counters.size != devices * block.wire_counters:
        raise LayoutError(
            f"{gauges.size} gauges and {counters.size} counters, expected "
            f"{devices * block.wire_gauges} and {devices * block.wire_counters} of {devices} devices"
        )
    gauges = gauges.reshape(devices, block.wire_gauges)
    counters = counters.reshape(devices, block.wire_counters)
    if block.gauge_pick is not None:
        gauges = gauges[:, block.gauge_pick]
    if block.counter_pick is not None:
        counters = counters[:, block.counter_pick]
    reasons = None
    if readings.reasons:
        if len(readings.reasons) != devices:
            raise LayoutError(f"{len(readings.reasons)} reasons, expected none or {devices}")
        # A newer agent's reason is no reading either: any unknown number means "failed".
        reasons = np.array([r if 0 <= r <= 8 else pb.REASON_FAILED for r in readings.reasons], dtype=np.uint8)
    return Values(block, gauges, counters, reasons)
