"""One reader's devices at one pace: folds the samples between two reports into what the next report says.

What shows work keeps its peak (Metric.fold); a sample that does not know a column neither hides a peak nor is one. If
any sample since the last report failed, was missing or late, the report's reason says so beside the peak: a hole must
not pass for quiet.
"""

from collections.abc import Mapping, Sequence
from math import isnan, nan

from fallow_agent.readers.messages import Opened
from fallow_agent.readers.reader import Reading
from fallow_proto.metrics import BY_NAME, COLUMN, Fold, Group, Kind, Metric
from fallow_proto.v1 import telemetry_pb2 as pb

LONGEST_GAP = 2.5
"""In samples: after longer silence the devices were not watched. The collector breaks its windows at the same."""


class Block:
    """`wire` is what the layout says of it."""

    def __init__(self, reader: str, group: Group, opened: Opened, sampled_every_s: float, interval_s: float) -> None:
        """interval_s: between reports of this block."""
        metrics = metrics_of(group, opened)
        self._gauges = [metric for metric in metrics if metric.kind is Kind.GAUGE]
        self._counters = [metric for metric in metrics if metric.kind is Kind.COUNTER]
        self.wire = pb.Block(
            reader=reader,
            group=group,
            interval_s=interval_s,
            devices=[device.uuid for device in opened.devices],
            gauges=[metric.name for metric in self._gauges],
            counters=[metric.name for metric in self._counters],
        )
        self._longest_gap_s = LONGEST_GAP * sampled_every_s
        self._sampled_at: float | None = None
        self._reasons: list[pb.Reason.ValueType]
        self._start_over()

    @property
    def sampled(self) -> bool:
        """Whether there is anything since the last report."""
        return self._samples > 0

    def sample(self, readings: Sequence[Reading], now: float) -> None:
        """Readings of devices that the layout does not know are left out; a device without one has failed."""
        late = self._sampled_at is not None and now - self._sampled_at > self._longest_gap_s
        found = {reading.uuid: reading for reading in readings}
        for row, uuid in enumerate(self.wire.devices):
            reading = found.get(uuid) or Reading(uuid, reason=pb.REASON_FAILED)
            if reading.reason != pb.REASON_OK:
                self._reasons[row] = reading.reason
            elif late:
                self._reasons[row] = pb.REASON_TIMEOUT
            _fold_row(self._gauge_values, row, self._gauges, reading.values)
            _fold_row(self._counter_values, row, self._counters, reading.values)
        self._sampled_at = now
        self._samples += 1

    def report(self, position: int, reason: pb.Reason.ValueType = pb.REASON_OK) -> pb.Readings:
        """What is known since the last report, under the block's position in the layout; then start over.

        `reason` other than REASON_OK is why the reader as a whole says nothing now.
        """
        if reason != pb.REASON_OK:
            self._reasons = [reason] * len(self._reasons)
        readings = pb.Readings(
            block=position,
            gauges=self._gauge_values,
            counters=self._counter_values,
            reasons=self._reasons if any(self._reasons) else (),
        )
        self._start_over()
        return readings

    def _start_over(self) -> None:
        rows = len(self.wire.devices)
        self._samples = 0
        self._gauge_values = [nan] * (rows * len(self._gauges))
        self._counter_values = [nan] * (rows * len(self._counters))
        self._reasons = [pb.REASON_OK] * rows


def metrics_of(group: Group, opened: Opened) -> list[Metric]:
    """The columns of a block, in the metric table's order, with the agent's own."""
    names = _offered(group, opened)
    if "processes" in names:
        names.add("processes_exempt")  # the agent's own addition: see holders.py
    if group is Group.MEDIUM and "processes" in _offered(Group.FAST, opened):
        names.add("processes_cpu_seconds_total")  # and this one: see work.py
    return sorted((BY_NAME[name] for name in names), key=lambda metric: COLUMN[metric.name])


def _offered(group: Group, opened: Opened) -> set[str]:
    """Metrics of a group that at least one of the devices may have."""
    if not opened.devices:
        return set()
    names = {name for name in opened.columns.get(group, ()) if name in BY_NAME}
    return names - frozenset.intersection(*(device.unsupported for device in opened.devices))


def folded(fold: Fold, before: float, value: float) -> float:
    """Of two samples in order, NaN where not known."""
    if fold is Fold.LAST or isnan(before):
        return value
    if isnan(value):
        return before
    return max(before, value) if fold is Fold.MAX else min(before, value)


def _fold_row(cells: list[float], row: int, metrics: Sequence[Metric], values: Mapping[str, float]) -> None:
    for cell, metric in enumerate(metrics, row * len(metrics)):
        value = values.get(metric.name, nan)
        if not metric.low <= value <= metric.high:  # invented by a driver; NaN is no more between them
            value = nan
        cells[cell] = folded(metric.fold, cells[cell], value)
