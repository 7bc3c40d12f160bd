"""Small true items for the tests of spool, ring and uplink."""

from fallow_agent.spool.item import Item
from fallow_proto.codec import layout_of
from fallow_proto.ranges import RangeSet
from fallow_proto.v1 import telemetry_pb2 as pb

START_MS = 1_790_000_000_000


def layout(devices: int = 1) -> pb.Layout:
    return layout_of([
        pb.Block(
            reader="host", group="fast", interval_s=1.0, devices=[f"cpu-{n}" for n in range(devices)],
            gauges=["utilization_ratio"],
        )
    ])


def report(seq: int, epoch: str = "a", *, devices: int = 1, padding: int = 0, previous: int | None = None) -> Item:
    """padding: bytes by which the report is made larger."""
    message = pb.Report(
        seq=seq,
        previous=seq - 1 if previous is None else previous,
        time_ms=START_MS + seq * 1_000,
        readings=[pb.Readings(block=0, gauges=[0.25] * devices + [0.0] * (padding // 4))],
    )
    return Item(epoch, seq, message.time_ms, message.SerializeToString(), layout(devices))


def event(seq: int, epoch: str = "a", *, name: str = "", count: int = 1, message: str = "") -> Item:
    name = name or str(seq)
    told = pb.Event(
        seq=seq, id=name, kind="reader_failed", count=count, first_ms=START_MS, last_ms=START_MS + seq, message=message
    )
    return Item(epoch, seq, START_MS + seq * 1_000, told.SerializeToString(), event=name)


def ranges(**epochs: list[tuple[int, int]]) -> dict[str, RangeSet]:
    return {epoch: RangeSet(pairs) for epoch, pairs in epochs.items()}
