"""Activity of the compute units, which is known between two samples a second apart."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fallow_agent.readers.nvml_gpm import LONGEST_S, is_comparable, is_early
from fallow_agent.readers.reader import Reading
from fallow_proto.metrics import Group
from fallow_proto.v1.telemetry_pb2 import Reason
from tests.agent.collector import wait_for
from tests.agent.readers.nvidia.remote import RemoteReader
from tests.simulators.nvml.scenario import NOT_OF_H100, Scenario, h100
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")

ALLOC, FREE, COMPARE, SAMPLE = "nvmlGpmSampleAlloc", "nvmlGpmSampleFree", "nvmlGpmMetricsGet", "nvmlGpmSampleGet"
NOT_SUPPORTED, LOST, UNKNOWN = 3, 15, 999


def until_compared(reader: RemoteReader, nvml: Simulator, times: int) -> Sequence[Reading]:
    """Read until so many comparisons of samples were made since now."""
    before = nvml.calls().get(COMPARE, 0)
    readings: Sequence[Reading] = ()

    def compared() -> bool:
        nonlocal readings
        readings = reader.read(Group.FAST)
        return nvml.calls().get(COMPARE, 0) >= before + times

    wait_for(compared, "samples a second apart")
    return readings


def activity(readings: Sequence[Reading]) -> list[float | None]:
    return [reading.values.get("compute_active_ratio") for reading in readings]


def test_activity_is_known_a_second_after_opening_and_costs_two_calls_a_device_and_second(
    reader: RemoteReader, nvml: Simulator
) -> None:
    nvml.play(Scenario((replace(h100(0), sm_active_percent=62.5), h100(1), replace(h100(2), sm_active_percent=None))))
    devices = reader.open()
    assert [device.unsupported - NOT_OF_H100 for device in devices] == [set(), set(), {"compute_active_ratio"}]
    assert activity(reader.read(Group.FAST)) == [None, None, None]
    before = nvml.calls()
    assert activity(until_compared(reader, nvml, times=2)) == [0.625, 0.0, None]
    asked = Counter(nvml.calls()) - Counter(before)
    assert {name: times for name, times in asked.items() if "Gpm" in name} == {SAMPLE: 2, COMPARE: 2}


def test_what_was_known_is_said_again_until_the_next_second(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario((replace(h100(0), sm_active_percent=40.0),)))
    reader.open()
    until_compared(reader, nvml, times=1)
    nvml.change(0, sm_active_percent=90.0)
    sampled = nvml.calls()[SAMPLE]
    assert activity(reader.read(Group.FAST)) == [0.4]
    assert nvml.calls()[SAMPLE] == sampled
    assert activity(until_compared(reader, nvml, times=1)) == [0.9]


@pytest.mark.parametrize("answer", ["nan", "100.5", "-1", "1e300", f"error {UNKNOWN}", "error 4"])
def test_what_a_driver_invents_of_activity_is_absent(reader: RemoteReader, nvml: Simulator, answer: str) -> None:
    nvml.play(Scenario((replace(h100(0), raw={"sm_active": answer}),)))
    (device,) = reader.open()
    (reading,) = until_compared(reader, nvml, times=1)
    assert reading.reason == Reason.REASON_OK
    assert set(reader.columns(Group.FAST)) - set(reading.values) == {"compute_active_ratio"}
    assert device.unsupported == NOT_OF_H100


def test_a_sample_that_fails_is_no_zero_and_the_next_begins_anew(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario((replace(h100(0), sm_active_percent=40.0),)))
    reader.open()
    until_compared(reader, nvml, times=1)
    nvml.change(0, faults={SAMPLE: UNKNOWN})
    wait_for(lambda: activity(reader.read(Group.FAST)) == [None], "a sample that fails")
    nvml.change(0, faults={})
    compared = nvml.calls()[COMPARE]
    assert activity(reader.read(Group.FAST)) == [None]
    assert nvml.calls()[COMPARE] == compared
    assert activity(until_compared(reader, nvml, times=1)) == [0.4]


def test_after_a_device_was_lost_nothing_is_compared_with_what_was_before(
    reader: RemoteReader, nvml: Simulator
) -> None:
    nvml.play(Scenario((replace(h100(0), sm_active_percent=40.0),)))
    reader.open()
    until_compared(reader, nvml, times=1)
    nvml.change(0, faults={"nvmlDeviceGetUtilizationRates": LOST})
    assert reader.read(Group.FAST) == [Reading(h100(0).uuid, reason=Reason.REASON_LOST)]
    nvml.change(0, faults={})
    assert activity(reader.read(Group.FAST)) == [None]
    assert activity(until_compared(reader, nvml, times=1)) == [0.4]


def test_a_driver_that_samples_and_cannot_compare_is_not_opened_again_and_again(
    reader: RemoteReader, nvml: Simulator
) -> None:
    nvml.play(Scenario((replace(h100(0), raw={"sm_active": f"error {NOT_SUPPORTED}"}),)))
    reader.open()
    assert activity(until_compared(reader, nvml, times=2)) == [None]
    assert not reader.changed()


def test_samples_are_freed_when_the_reader_closes_or_opens_again(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario((h100(0), h100(1), replace(h100(2), sm_active_percent=None))))
    reader.open()
    reader.open()
    assert (nvml.calls()[ALLOC], nvml.calls()[FREE]) == (8, 4)
    reader.close()
    assert nvml.calls()[FREE] == 8


@pytest.mark.parametrize("faults", [{"nvmlGpmQueryDeviceSupport": 3}, {"nvmlGpmQueryDeviceSupport": 13}])
def test_a_driver_without_gpm_declares_activity_unsupported(
    reader: RemoteReader, nvml: Simulator, faults: dict[str, int]
) -> None:
    nvml.play(Scenario((replace(h100(0), faults=faults),)))
    (device,) = reader.open()
    assert device.unsupported == NOT_OF_H100 | {"compute_active_ratio"}
    assert ALLOC not in nvml.calls()


def test_samples_are_compared_when_they_are_about_a_second_and_no_more_than_a_tick_apart() -> None:
    assert [is_early(age_s) for age_s in (0.1, 0.89, 0.9, 1.0)] == [True, True, False, False]
    assert [is_comparable(age_s) for age_s in (1.0, 10.1, LONGEST_S, LONGEST_S + 0.1)] == [True, True, True, False]
