"""An epoch numbers its reports and events, and ends when the wall clock stays away."""

from fallow_agent.epoch import Epoch
from fallow_agent.happening import Happening
from fallow_agent.readers.messages import Opened, Read
from fallow_agent.readers.reader import DeviceIdentity, Reading
from fallow_agent.sampler import Sampler
from fallow_proto.metrics import Group
from fallow_proto.states import EventKind
from fallow_proto.v1 import telemetry_pb2 as pb

DEVICE = DeviceIdentity("cpu-1", "intel", "Xeon", 0)


def sampler_at(start: float) -> Sampler:
    sampler = Sampler(1.0, start)
    sampler.take("host", Opened((DEVICE,), {Group.FAST: ("utilization_ratio",)}), start)
    return sampler


def test_reports_and_events_share_numbers_and_a_report_names_the_one_before_it() -> None:
    sampler = sampler_at(100.0)
    epoch = Epoch("a", wall=1_000.0, boot=100.0)
    epoch.note(Happening(EventKind.AGENT_STARTED, "", "started"), 100.0)
    numbered: list[tuple[object, ...]] = []
    for second in range(3):
        now = 100.0 + second
        sampler.due(now, ["host"])
        sampler.take("host", Read({Group.FAST: (Reading("cpu-1", {"utilization_ratio": 0.5}),)}), now)
        numbered += [(item.seq, "event") for item in epoch.events(now)]
        assert sampler.ready(now)
        item = epoch.report(sampler, now)
        report = pb.Report.FromString(item.body)
        assert (item.epoch, item.seq, item.time_ms) == ("a", report.seq, report.time_ms)
        assert item.layout == sampler.layout
        numbered.append((report.seq, report.previous, report.time_ms))
        if second == 1:
            epoch.note(Happening(EventKind.READER_STUCK, "", "no answer"), now)
    assert numbered == [(1, "event"), (2, 0, 1_000_000), (3, 2, 1_001_000), (4, "event"), (5, 3, 1_002_000)]


def test_an_event_carries_its_number_and_kind() -> None:
    epoch = Epoch("a", wall=1_000.0, boot=100.0)
    epoch.note(Happening(EventKind.DEVICE_VANISHED, "gpu0", "gone"), 101.0)
    item = epoch.events(101.0)[0]
    event = pb.Event.FromString(item.body)
    assert (item.seq, item.event, item.layout) == (event.seq, event.id, None)
    assert (event.kind, event.device, event.first_ms) == ("device_vanished", "gpu0", 1_001_000)


def test_it_is_outlived_when_the_wall_clock_was_off_for_a_minute() -> None:
    epoch = Epoch("a", wall=1_000.0, boot=100.0)
    assert epoch.outlived(wall=5_000.0, boot=101.0) is None
    assert epoch.outlived(wall=5_059.0, boot=160.0) is None
    assert epoch.outlived(wall=5_060.0, boot=161.0) == 3_999.0
