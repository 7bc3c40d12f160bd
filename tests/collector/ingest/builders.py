"""Messages as an agent would send them, each with what a test wants different."""

from collections.abc import Sequence

from fallow_proto import WIRE
from fallow_proto.codec import layout_of
from fallow_proto.v1 import telemetry_pb2 as pb

NODE = "node-1"
EPOCH = "epoch-a"
WALL = 1_700_000_000.0  # "now" of these tests, unix seconds

GAUGES = ("utilization_ratio", "memory_usage_bytes", "power_watts", "processes")
COUNTERS = ("energy_joules_total",)


def device(uuid: str, **changed: object) -> pb.Device:
    fields: dict[str, object] = {
        "uuid": uuid, "vendor": "nvidia", "model": "NVIDIA A100-SXM4-80GB", "device_class": "intelligent",
    }
    return pb.Device(**{**fields, **changed})  # type: ignore[arg-type]


def hello(node: str = NODE, epoch: str = EPOCH, **changed: object) -> pb.FromAgent:
    fields: dict[str, object] = {
        "wire": WIRE, "agent_version": "0.1.0", "site": "default", "node": node, "boot_id": "boot", "epoch": epoch,
        "interval_s": 1.0, "devices": [device(f"{node}-gpu-0"), device(f"{node}-gpu-1")],
    }
    return pb.FromAgent(hello=pb.Hello(**{**fields, **changed}))  # type: ignore[arg-type]


def layout_for(node: str = NODE) -> pb.Layout:
    return layout_of([pb.Block(
        reader="nvidia", group="fast", interval_s=1.0, devices=[f"{node}-gpu-0", f"{node}-gpu-1"],
        gauges=GAUGES, counters=COUNTERS,
    )])


def layout(node: str = NODE) -> pb.FromAgent:
    return pb.FromAgent(layout=layout_for(node))


def report(seq: int, time_ms: int | None = None, **changed: object) -> pb.Report:
    fields: dict[str, object] = {
        "seq": seq, "previous": seq - 1, "time_ms": int(WALL * 1000) + seq * 1000 if time_ms is None else time_ms,
        "readings": [pb.Readings(block=0, gauges=[0.0, 4e8, 60.0, 0.0] * 2, counters=[seq * 60.0] * 2)],
    }
    return pb.Report(**{**fields, **changed})  # type: ignore[arg-type]


def reports(
    *batch: pb.Report | int, node: str = NODE, epoch: str = EPOCH, lane: pb.Lane.ValueType = pb.LANE_JUDGED
) -> pb.FromAgent:
    """A batch; a bare number is a report of that number."""
    return pb.FromAgent(reports=pb.Reports(
        epoch=epoch, layout=layout_for(node).hash, lane=lane,
        reports=[report(each) if isinstance(each, int) else each for each in batch],
    ))


def events(*batch: pb.Event, epoch: str = EPOCH) -> pb.FromAgent:
    return pb.FromAgent(events=pb.Events(epoch=epoch, events=batch))


def event(seq: int, **changed: object) -> pb.Event:
    fields: dict[str, object] = {
        "seq": seq, "id": f"event-{seq}", "kind": "agent_started", "count": 1, "first_ms": 1000, "last_ms": 1000,
    }
    return pb.Event(**{**fields, **changed})  # type: ignore[arg-type]


def fence(device: str = f"{NODE}-gpu-0", token: int = 7, **changed: object) -> pb.DeviceFence:
    fields: dict[str, object] = {"device": device, "token": token, "held": True, "lease_id": "l1", "holder": "alice"}
    return pb.DeviceFence(**{**fields, **changed})  # type: ignore[arg-type]


def fenced(*fences: pb.DeviceFence) -> pb.FromAgent:
    return pb.FromAgent(fenced=pb.Fenced(fences=fences))


def ledger(**changed: object) -> pb.FromAgent:
    fields: dict[str, object] = {
        "name": "kubernetes", "age_s": 0.5, "owned": [f"{NODE}-gpu-0", f"{NODE}-gpu-1"],
        "allocations": [pb.Allocation(device=f"{NODE}-gpu-0", holder="default/train-0")],
    }
    return pb.FromAgent(ledger=pb.Ledger(**{**fields, **changed}))  # type: ignore[arg-type]


def listed(*processes: pb.Process, **changed: object) -> pb.FromAgent:
    fields: dict[str, object] = {"device": f"{NODE}-gpu-0", "processes": processes}
    return pb.FromAgent(processes=pb.Processes(**{**fields, **changed}))  # type: ignore[arg-type]


def numbers(ranges: Sequence[pb.EpochRanges]) -> dict[str, list[tuple[int, int]]]:
    return {each.epoch: [(r.lo, r.hi) for r in each.ranges] for each in ranges}
