"""The false readings that are made on the node; the others are in tests/collector/idle/test_false_readings.py."""

from fallow_agent.readers import messages as m
from fallow_agent.readers.lifecycle import Fork, Lifecycle, Send
from fallow_agent.readers.reader import DeviceIdentity, Reading
from fallow_agent.readers.status import State, Status
from fallow_agent.sampler import Sampler
from fallow_proto.metrics import Group
from fallow_proto.v1 import telemetry_pb2 as pb

COLUMNS = {Group.FAST: ("utilization_ratio",)}
HOUR_S = 3600


def opened(vendor: str, uuid: str) -> m.Opened:
    return m.Opened((DeviceIdentity(uuid, vendor, "One", 0),), COLUMNS)


def test_f15_a_reader_that_hangs_costs_its_own_devices_only() -> None:
    """ServerPilot 2.3.0: one time limit for all, and one that hangs makes all of them flap."""
    sampler = Sampler(1.0, start=100.0)
    sampler.take("gpu", opened("acme", "a"), 100.0)
    sampler.take("npu", opened("other", "b"), 100.0)
    sampler.take("gpu", Status("gpu", State.STUCK, 100.0, "no answer", pb.REASON_STUCK), 100.0)
    for second in range(101, 131):
        asked = sampler.due(float(second), ["npu"])
        assert set(asked) == {"npu"}
        sampler.take("npu", m.Read({Group.FAST: (Reading("b", {"utilization_ratio": 0.5}),)}), second + 0.01)
        assert sampler.ready(second + 0.01)
        report = sampler.report(second, second - 1, second * 1000)
        blocks = {sampler.layout.blocks[readings.block].reader: readings for readings in report.readings}
        assert list(blocks["npu"].gauges) == [0.5]
        assert not any(blocks["npu"].reasons)
        assert list(blocks["gpu"].reasons) == [pb.REASON_STUCK]


def test_f16_a_hanging_driver_is_asked_once_and_by_one_process_however_long_it_hangs() -> None:
    """Olares#3803, VoiceStudio#2155: probes that hang pile up, each in a process of its own."""
    life = Lifecycle("nvidia", 0.0)
    done = list(life.tick(0.0))
    life.heard(m.Opened((), {}), 0.0)
    for second in range(1, HOUR_S):
        done += life.ask((Group.FAST,), float(second))
        done += life.tick(second + 0.5)
    assert [action for action in done if isinstance(action, Fork)] == [Fork()]
    assert [action for action in done if isinstance(action, Send)] == [Send(m.Ask((Group.FAST,)))]
    assert life.status.state is State.STUCK
