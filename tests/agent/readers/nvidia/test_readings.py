"""What the nvidia reader reads, through the real pynvml on the simulated library."""

import os
import time
from collections import Counter
from dataclasses import replace

import pytest

from fallow_agent.readers.reader import Process, Reading
from fallow_proto.metrics import Group
from fallow_proto.v1.telemetry_pb2 import Reason
from tests.agent.readers.nvidia.remote import RemoteReader
from tests.simulators.nvml.scenario import MIB, NOT_AT_FIRST, NOT_OF_H100, ON, Device, Scenario, h100
from tests.simulators.nvml.scenario import Process as Held
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")


def fast(reader: RemoteReader, nvml: Simulator, *devices: Device) -> list[Reading]:
    nvml.play(Scenario(devices))
    reader.open()
    return list(reader.read(Group.FAST))


def test_a_busy_board_is_read_in_base_units(reader: RemoteReader, nvml: Simulator) -> None:
    busy = replace(
        h100(0),
        memory_used_bytes=40_000 * MIB,
        utilization_percent=97,
        memory_utilization_percent=41,
        power_milliwatts=650_250,
        energy_millijoules=5_000_000_500,
        temperature_celsius=61,
        memory_temperature_celsius=70,
        sm_clock_megahertz=1_980,
        memory_clock_megahertz=2_619,
        compute_processes=(Held(4_242, 39_000 * MIB),),
        recovery_action=1,
        throttle_power_nanoseconds=2_500_000_000,
        throttle_thermal_software_nanoseconds=1_000_000_000,
        throttle_thermal_hardware_nanoseconds=500_000_000,
        pcie_replays=3,
        nvlink_receive_kibibytes=10,
        nvlink_transmit_kibibytes=20,
    )
    (reading,) = fast(reader, nvml, busy)
    assert reading.reason == Reason.REASON_OK
    assert reading.processes == (Process(4_242, 39_000.0 * MIB),)
    assert dict(reading.values) == pytest.approx({
        "utilization_ratio": 0.97,
        "memory_bandwidth_active_ratio": 0.41,
        "memory_usage_bytes": 40_000 * MIB,
        "memory_limit_bytes": 81_559 * MIB,
        "processes": 1,
        "power_watts": 650.25,
        "energy_joules_total": 5_000_000.5,
        "temperature_celsius": 61,
        "memory_temperature_celsius": 70,
        "clock_hertz": 1.98e9,
        "memory_clock_hertz": 2.619e9,
        "throttle_power_seconds_total": 2.5,
        "throttle_thermal_seconds_total": 1.5,
        "pcie_replays_total": 3,
        "link_receive_bytes_total": 10_240,
        "link_transmit_bytes_total": 20_480,
        "recovery_action": 1,
    })


def test_an_idle_board_has_no_processes_and_that_is_known(reader: RemoteReader, nvml: Simulator) -> None:
    (reading,) = fast(reader, nvml, h100(0))
    assert reading.values["processes"] == 0
    assert reading.values["utilization_ratio"] == 0
    assert reading.processes == ()


def test_the_power_limit_is_read_at_the_medium_pace(reader: RemoteReader, nvml: Simulator) -> None:
    fast(reader, nvml, h100(0))
    (reading,) = reader.read(Group.MEDIUM)
    assert reading.values["power_limit_watts"] == 700


def test_energy_grows_by_the_power(reader: RemoteReader, nvml: Simulator) -> None:
    since = time.monotonic()
    nvml.play(Scenario((replace(h100(0), energy_since_s=since, power_milliwatts=700_000),)))
    reader.open()
    (reading,) = reader.read(Group.FAST)
    used = reading.values["energy_joules_total"] - 5_000_000
    assert 0 <= used <= 700 * (time.monotonic() - since)
    assert used > 0


def test_processes_of_all_lists_count_once(reader: RemoteReader, nvml: Simulator) -> None:
    (reading,) = fast(
        reader, nvml,
        replace(
            h100(0),
            compute_processes=(Held(30, 5 * MIB), Held(10)),
            graphics_processes=(Held(30, 6 * MIB), Held(20, 1 * MIB)),
            mps_processes=(Held(40, 2 * MIB),),
        ),
    )
    assert reading.values["processes"] == 4
    assert reading.processes == (
        Process(10, None), Process(20, 1.0 * MIB), Process(30, 6.0 * MIB), Process(40, 2.0 * MIB)
    )


def test_any_number_of_processes_is_read(reader: RemoteReader, nvml: Simulator) -> None:
    many = tuple(Held(pid, pid * MIB) for pid in range(1, 301))
    (reading,) = fast(reader, nvml, replace(h100(0), compute_processes=many))
    assert reading.values["processes"] == 300
    assert reading.processes[-1] == Process(300, 300.0 * MIB)


def test_load_is_followed_under_a_running_reader(reader: RemoteReader, nvml: Simulator) -> None:
    fast(reader, nvml, h100(0), h100(1))
    for percent in (100, 0, 55):
        nvml.change(1, utilization_percent=percent)
        assert [reading.values["utilization_ratio"] for reading in reader.read(Group.FAST)] == [
            0, pytest.approx(percent / 100)
        ]


UNSUPPORTED = [
    ({"utilization_percent": None}, {"utilization_ratio", "memory_bandwidth_active_ratio"}),
    ({"memory_total_bytes": None}, {"memory_usage_bytes", "memory_limit_bytes"}),
    ({"power_milliwatts": None}, {"power_watts"}),
    ({"power_limit_milliwatts": None}, {"power_limit_watts"}),
    ({"energy_millijoules": None}, {"energy_joules_total"}),
    ({"temperature_celsius": None}, {"temperature_celsius"}),
    ({"memory_temperature_celsius": None}, {"memory_temperature_celsius"}),
    ({"sm_clock_megahertz": None}, {"clock_hertz"}),
    ({"memory_clock_megahertz": None}, {"memory_clock_hertz"}),
    ({"compute_processes": None}, {"processes"}),
    ({"recovery_action": None}, {"recovery_action"}),
    ({"pcie_replays": None}, {"pcie_replays_total"}),
    ({"nvlink_receive_kibibytes": None, "nvlink_transmit_kibibytes": None},
     {"link_receive_bytes_total", "link_transmit_bytes_total"}),
    ({"graphics_processes": None, "mps_processes": None}, set()),  # no such contexts: compute alone is the count
    ({"mig": ON}, {"utilization_ratio", "memory_bandwidth_active_ratio", "compute_active_ratio"}),
    ({"faults": {"nvmlDeviceGetUtilizationRates": 13}}, {"utilization_ratio", "memory_bandwidth_active_ratio"}),
    ({"faults": {"nvmlDeviceGetUtilizationRates": 26}}, {"utilization_ratio", "memory_bandwidth_active_ratio"}),
    ({"faults": {"nvmlDeviceGetMemoryInfo_v2": 25}}, {"memory_usage_bytes", "memory_limit_bytes"}),
]


@pytest.mark.parametrize(("changes", "metrics"), UNSUPPORTED)
def test_what_the_driver_declares_unsupported_is_named_and_absent(
    reader: RemoteReader, nvml: Simulator, changes: dict[str, object], metrics: set[str]
) -> None:
    nvml.play(Scenario((h100(0),)))
    nvml.change(0, **changes)
    (device,) = reader.open()
    (reading,) = reader.read(Group.FAST)
    assert device.unsupported == metrics | NOT_OF_H100
    assert reading.reason == Reason.REASON_OK
    assert set(reader.columns(Group.FAST)) - set(reading.values) == metrics - {"power_limit_watts"} | NOT_AT_FIRST


def test_what_is_unsupported_is_not_asked_again_until_reopened(reader: RemoteReader, nvml: Simulator) -> None:
    fast(reader, nvml, replace(h100(0), utilization_percent=None, compute_processes=None))
    before = nvml.calls()
    reader.read(Group.FAST)
    asked = Counter(nvml.calls()) - Counter(before)
    assert "nvmlDeviceGetUtilizationRates" not in asked
    assert "nvmlDeviceGetComputeRunningProcesses_v3" not in asked
    nvml.change(0, utilization_percent=50)
    assert "utilization_ratio" not in reader.read(Group.FAST)[0].values
    reader.open()
    assert reader.read(Group.FAST)[0].values["utilization_ratio"] == 0.5


def test_a_call_that_the_driver_withdraws_is_absent_and_calls_for_reopening(
    reader: RemoteReader, nvml: Simulator
) -> None:
    fast(reader, nvml, h100(0))
    nvml.change(0, utilization_percent=None)
    (reading,) = reader.read(Group.FAST)
    assert "utilization_ratio" not in reading.values
    assert reading.reason == Reason.REASON_OK
    before = nvml.calls()
    reader.read(Group.FAST)
    assert "nvmlDeviceGetUtilizationRates" not in Counter(nvml.calls()) - Counter(before)
    assert reader.changed()
    assert "utilization_ratio" in reader.open()[0].unsupported
    assert not reader.changed()


NEWEST_TEMPERATURE, NEWER_TEMPERATURE = {"field.308": None}, {"nvmlDeviceGetTemperatureV": 13}


@pytest.mark.parametrize(
    ("raw", "faults"), [({}, {}), (NEWEST_TEMPERATURE, {}), (NEWEST_TEMPERATURE, NEWER_TEMPERATURE)]
)
def test_temperature_is_read_by_the_newest_way_that_the_driver_knows(
    reader: RemoteReader, nvml: Simulator, raw: dict[str, str | None], faults: dict[str, int]
) -> None:
    (reading,) = fast(reader, nvml, replace(h100(0), temperature_celsius=61, raw=raw, faults=faults))
    assert reading.values["temperature_celsius"] == 61


ABSURD = [
    ({"utilization_gpu": "4294967295"}, {"utilization_ratio"}),
    ({"utilization_gpu": "250"}, {"utilization_ratio"}),
    ({"field.186": "uint 4294967295"}, {"power_watts"}),
    ({"field.186": "uint 99000000"}, {"power_watts"}),
    ({"field.186": "double nan"}, {"power_watts"}),
    ({"field.83": "ull 18446744073709551615"}, {"energy_joules_total"}),
    ({"field.82": "int -1"}, {"memory_temperature_celsius"}),
    ({"field.82": "uint 4294967295"}, {"memory_temperature_celsius"}),
    ({"field.308": "double inf"}, {"temperature_celsius"}),
    ({"field.308": "double -300"}, {"temperature_celsius"}),
    ({"field.230": "uint 4294967295"}, {"recovery_action"}),
    ({"field.269": "ull 18446744073709551615"}, {"throttle_thermal_seconds_total"}),
    ({"clock.sm": "4294967295"}, {"clock_hertz"}),
    ({"memory_total": "-1"}, {"memory_usage_bytes", "memory_limit_bytes"}),
    ({"memory_used": "-1"}, {"memory_usage_bytes"}),
    ({"memory_used": f"{2**50}"}, {"memory_usage_bytes"}),  # more than there is
    ({"memory_free": "-1"}, {"memory_usage_bytes"}),
]


@pytest.mark.parametrize(("raw", "metrics"), ABSURD)
def test_sentinels_and_absurd_values_are_absent_and_nothing_else_is(
    reader: RemoteReader, nvml: Simulator, raw: dict[str, str | None], metrics: set[str]
) -> None:
    (reading,) = fast(reader, nvml, replace(h100(0), raw=raw))
    assert reading.reason == Reason.REASON_OK
    assert set(reader.columns(Group.FAST)) - set(reading.values) == metrics | NOT_AT_FIRST


def test_a_fast_tick_is_seven_calls_a_device_and_eight_when_it_computes(
    reader: RemoteReader, nvml: Simulator
) -> None:
    idle = [h100(number) for number in range(4)]
    busy = [replace(h100(number), compute_processes=(Held(os.getpid(), MIB),)) for number in range(4, 8)]
    fast(reader, nvml, *idle, *busy)
    before = nvml.calls()
    reader.read(Group.FAST)
    assert Counter(nvml.calls()) - Counter(before) == {
        "nvmlDeviceGetFieldValues": 8,
        "nvmlDeviceGetUtilizationRates": 8,
        "nvmlDeviceGetMemoryInfo_v2": 8,
        "nvmlDeviceGetClockInfo": 16,
        "nvmlDeviceGetComputeRunningProcesses_v3": 8,
        "nvmlDeviceGetGraphicsRunningProcesses_v3": 8,
        "nvmlDeviceGetMPSComputeRunningProcesses_v3": 4,
    }
