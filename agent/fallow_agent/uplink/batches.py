"""Items into messages: one message holds reports of one epoch and one layout, in one lane."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby

from fallow_agent.spool.item import Item
from fallow_proto.v1 import telemetry_pb2 as pb

MAX_BYTES = 256 << 10
"""Of one message. gRPC takes 4 MiB, and our collector 1: small ones let live reports pass between."""
MAX_REPORTS = 1_000
MAX_EVENTS = 500


def first_batch(reports: Iterable[Item]) -> list[Item]:
    """As many reports as fit into one message; at least one if there is any."""
    batch: list[Item] = []
    size = 0
    for report in reports:
        size += len(report.body)
        if batch and (size > MAX_BYTES or len(batch) >= MAX_REPORTS or not _fit_together(batch[0], report)):
            break
        batch.append(report)
    return batch


def layout_of(report: Item) -> pb.Layout:
    assert report.layout is not None, "BUG: an event among reports"
    return report.layout


def reports_of(batch: Sequence[Item], lane: pb.Lane.ValueType, spool_dropped: int | None = None) -> pb.FromAgent:
    """One message of reports that belong together. spool_dropped: None: the collector knows it."""
    return pb.FromAgent(
        reports=pb.Reports(
            epoch=batch[0].epoch,
            layout=layout_of(batch[0]).hash,
            lane=lane,
            reports=[pb.Report.FromString(report.body) for report in batch],
            spool_dropped=spool_dropped,
        )
    )


def events_of(events: Sequence[Item]) -> Iterator[pb.FromAgent]:
    """Messages of events, epoch by epoch. None is larger than gRPC sends: what is too large once is so at each try."""
    for epoch, group in groupby(events, key=lambda event: event.epoch):
        left = list(group)
        while left:
            sizes = accumulate(len(event.body) for event in left[:MAX_EVENTS])
            many = max(1, sum(size <= MAX_BYTES for size in sizes))
            parsed = [pb.Event.FromString(event.body) for event in left[:many]]
            del left[:many]
            yield pb.FromAgent(events=pb.Events(epoch=epoch, events=parsed))


def _fit_together(first: Item, other: Item) -> bool:
    return first.epoch == other.epoch and layout_of(first).hash == layout_of(other).hash
