"""Devices and drivers that fail: what is said, and that nothing else is affected."""

from dataclasses import replace
from pathlib import Path

import pytest

from fallow_agent.readers.reader import ReaderError, Reading
from fallow_proto.metrics import Group
from fallow_proto.v1.telemetry_pb2 import Reason
from tests.agent.readers.nvidia.remote import RemoteReader
from tests.simulators.nvml.scenario import NOT_AT_FIRST, NOT_OF_H100, Hang, Process, Scenario, h100
from tests.simulators.nvml.simulator import Simulator, build

pytestmark = pytest.mark.server("cc")

NO_PERMISSION, TIMEOUT, LOST, RESET_REQUIRED, UNKNOWN = 4, 10, 15, 16, 999
DRIVER_NOT_LOADED, VERSION_MISMATCH = 9, 18


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (LOST, Reason.REASON_LOST),
        (RESET_REQUIRED, Reason.REASON_RESET_REQUIRED),
        (TIMEOUT, Reason.REASON_TIMEOUT),
        (11, Reason.REASON_TIMEOUT),
        (NO_PERMISSION, Reason.REASON_NOT_PERMITTED),
        (17, Reason.REASON_FAILED),
        (UNKNOWN, Reason.REASON_FAILED),
    ],
)
def test_a_device_that_fails_says_why_and_blanks_no_other(
    reader: RemoteReader, nvml: Simulator, code: int, reason: Reason.ValueType
) -> None:
    nvml.play(Scenario((h100(0), h100(1), h100(2))))
    reader.open()
    nvml.change(1, faults={"*": code})
    first, failed, last = reader.read(Group.FAST)
    assert failed == Reading(h100(1).uuid, reason=reason)
    assert reader.read(Group.MEDIUM)[1] == Reading(h100(1).uuid, reason=reason)
    for other in (first, last):
        assert other.reason == Reason.REASON_OK
        assert set(reader.columns(Group.FAST)) - set(other.values) == NOT_AT_FIRST
    nvml.change(1, faults={})
    assert reader.read(Group.FAST)[1].reason == Reason.REASON_OK


@pytest.mark.parametrize(
    ("faults", "raw"),
    [({"nvmlDeviceGetMemoryInfo_v2": LOST}, {}), ({}, {"field.83": f"error {LOST}"})],
)
def test_one_answer_of_lost_is_enough(
    reader: RemoteReader, nvml: Simulator, faults: dict[str, int], raw: dict[str, str | None]
) -> None:
    nvml.play(Scenario((h100(0),)))
    reader.open()
    nvml.change(0, faults=faults, raw=raw)
    assert reader.read(Group.FAST) == [Reading(h100(0).uuid, reason=Reason.REASON_LOST)]


@pytest.mark.parametrize("code", [NO_PERMISSION, UNKNOWN])
def test_a_value_that_cannot_be_read_is_absent_and_not_unsupported(
    reader: RemoteReader, nvml: Simulator, code: int
) -> None:
    nvml.play(Scenario((replace(
        h100(0),
        faults={"nvmlDeviceGetGraphicsRunningProcesses_v3": code},
        raw={"field.186": f"error {code}"},
    ),)))
    (device,) = reader.open()
    (reading,) = reader.read(Group.FAST)
    assert device.unsupported == NOT_OF_H100
    assert reading.reason == Reason.REASON_OK
    assert set(reader.columns(Group.FAST)) - set(reading.values) == {"processes", "power_watts"} | NOT_AT_FIRST


def test_clients_of_mps_that_cannot_be_listed_leave_the_count_unknown(
    reader: RemoteReader, nvml: Simulator
) -> None:
    nvml.play(Scenario((replace(
        h100(0),
        compute_processes=(Process(1_234, 30_000_000),),
        faults={"nvmlDeviceGetMPSComputeRunningProcesses_v3": NO_PERMISSION},
    ),)))
    reader.open()
    (reading,) = reader.read(Group.FAST)
    assert "processes" not in reading.values
    assert reading.processes == ()


def test_a_device_that_is_lost_when_the_reader_opens_is_named_if_it_can_be(
    reader: RemoteReader, nvml: Simulator
) -> None:
    silent = dict.fromkeys(("nvmlDeviceGetFieldValues", "nvmlDeviceGetComputeMode", "nvmlDeviceGetMigMode"), LOST)
    nvml.play(Scenario((replace(h100(0), faults=silent), h100(1))))
    lost, other = reader.open()
    assert (lost.uuid, lost.unsupported, lost.mode) == (h100(0).uuid, frozenset(), "ecc=1")
    assert [reading.reason for reading in reader.read(Group.FAST)] == [Reason.REASON_LOST, Reason.REASON_OK]
    assert other.mode == "mig=0 ecc=1"
    nvml.change(0, faults={})
    assert reader.changed()
    assert reader.open()[0].mode == "mig=0 ecc=1"


def test_what_was_assumed_of_a_device_that_was_lost_is_found_out_once_it_is_back(
    reader: RemoteReader, nvml: Simulator
) -> None:
    older = {"field.186": None, "field.308": None}  # no power of the instant, no temperature as a field
    nvml.play(Scenario((replace(h100(0), raw=older, faults={"nvmlDeviceGetFieldValues": LOST}),)))
    reader.open()
    nvml.change(0, faults={})
    reader.read(Group.FAST)
    assert reader.changed()
    reader.open()
    assert {"power_watts", "temperature_celsius"} <= reader.read(Group.FAST)[0].values.keys()
    for group in Group:
        reader.read(group)
    assert not reader.changed()


@pytest.mark.parametrize("function", ["nvmlDeviceGetUUID", "nvmlDeviceGetName"])
def test_a_device_that_can_be_named_by_half_does_not_have_the_others_opened_again_and_again(
    reader: RemoteReader, nvml: Simulator, function: str
) -> None:
    nvml.play(Scenario((replace(h100(0), faults={function: UNKNOWN}), h100(1))))
    assert [device.uuid for device in reader.open()] == [h100(1).uuid]
    assert not reader.changed()


@pytest.mark.parametrize(("garbled", "left"), [("serial", 2), ("name", 1), ("uuid", 1)])
def test_a_device_whose_names_are_garbled_hides_no_other(
    reader: RemoteReader, nvml: Simulator, garbled: str, left: int
) -> None:
    nvml.play(Scenario((replace(h100(0), raw={garbled: "\udcff\udcfe"}), h100(1))))
    devices = reader.open()
    assert len(devices) == left
    assert devices[-1].uuid == h100(1).uuid
    assert not reader.changed()


def test_a_device_that_cannot_be_named_is_left_out_until_it_can_be(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario((replace(h100(0), faults={"*": LOST}), h100(1))))
    assert [(device.uuid, device.index) for device in reader.open()] == [(h100(1).uuid, 1)]
    assert [reading.uuid for reading in reader.read(Group.FAST)] == [h100(1).uuid]
    assert not reader.changed()
    nvml.change(0, faults={})
    assert reader.changed()
    assert [device.uuid for device in reader.open()] == [h100(0).uuid, h100(1).uuid]


def test_a_device_that_vanishes_is_lost_and_the_others_keep_their_names(
    reader: RemoteReader, nvml: Simulator
) -> None:
    nvml.play(Scenario((h100(0), replace(h100(1), utilization_percent=80))))
    reader.open()
    nvml.play(Scenario((replace(h100(1), utilization_percent=80),)))
    gone, other = reader.read(Group.FAST)
    assert gone == Reading(h100(0).uuid, reason=Reason.REASON_LOST)
    assert (other.uuid, other.values["utilization_ratio"]) == (h100(1).uuid, 0.8)
    assert reader.changed()
    assert [(device.uuid, device.index) for device in reader.open()] == [(h100(1).uuid, 0)]


def test_a_call_that_hangs_hangs_the_process_and_goes_on_when_it_returns(
    reader: RemoteReader, nvml: Simulator
) -> None:
    nvml.play(Scenario((h100(0), h100(1))))
    reader.open()
    nvml.change(1, faults={"nvmlDeviceGetUtilizationRates": Hang()})
    reader.send("read", Group.FAST)
    assert not reader.answered(within_s=0.2)
    nvml.change(1, faults={})
    assert [reading.reason for reading in reader.receive()] == [Reason.REASON_OK, Reason.REASON_OK]


def test_a_call_that_is_slow_is_waited_for(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario((replace(h100(0), faults={"nvmlDeviceGetMemoryInfo_v2": Hang(0.05)}),)))
    reader.open()
    assert reader.read(Group.FAST)[0].values["memory_usage_bytes"] == 1 * 2**20


def test_a_driver_that_is_replaced_under_the_reader_is_no_fault_of_a_device(
    reader: RemoteReader, nvml: Simulator
) -> None:
    nvml.play(Scenario((h100(0), h100(1))))
    reader.open()
    nvml.play(replace(nvml.scenario, faults={"*": VERSION_MISMATCH}))
    with pytest.raises(ReaderError, match="of different versions"):
        reader.read(Group.FAST)
    assert reader.changed()
    with pytest.raises(ReaderError, match="of different versions"):
        reader.open()
    nvml.play(replace(nvml.scenario, faults={}, driver_version="590.10"))
    assert [device.driver_version for device in reader.open()] == ["590.10", "590.10"]


def test_a_driver_that_is_unloaded_under_the_reader_is_no_fault_of_a_device(
    reader: RemoteReader, nvml: Simulator, sysfs: Path
) -> None:
    nvml.play(Scenario((h100(0),)))
    reader.open()
    nvml.play(replace(nvml.scenario, faults={"*": DRIVER_NOT_LOADED}))
    with pytest.raises(ReaderError, match="not loaded"):
        reader.read(Group.FAST)


NEWER_THAN_2020 = (
    "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetTemperatureV", "nvmlDeviceGetMarginTemperature",
    "nvmlDeviceGetGpuFabricInfoV", "nvmlDeviceGetUnrepairableMemoryFlag_v1", "nvmlDeviceGetSramEccErrorStatus",
    "nvmlGpmQueryDeviceSupport", "nvmlDeviceGetMPSComputeRunningProcesses_v3", "nvmlSystemEventSetCreate",
)


def test_a_library_without_the_newer_functions_is_read_for_all_that_it_has(
    nvml: Simulator, tmp_path: Path, sysfs: Path
) -> None:
    folder = tmp_path / "older"
    folder.mkdir()
    older = build(folder, without=NEWER_THAN_2020)
    nvml.play(Scenario((replace(h100(0), raw={"field.308": None}),)))
    reader = RemoteReader({**nvml.environment, "LD_LIBRARY_PATH": str(older)}, sysfs)
    try:
        (device,) = reader.open()
        given = {name for group in Group for name in reader.read(group)[0].values}
    finally:
        reader.stop()
    assert device.unsupported == NOT_OF_H100 | {
        "memory_usage_bytes", "memory_limit_bytes", "temperature_margin_celsius", "compute_active_ratio",
        "memory_unrepairable", "sram_threshold_exceeded", "fabric_state", "fabric_health_mask", "fabric_health",
        "fabric_bandwidth_degraded", "fabric_route_unhealthy", "fabric_route_recovering", "fabric_access_recovering",
        "fabric_misconfigured",
    }
    assert {"temperature_celsius", "utilization_ratio", "processes", "power_watts"} <= given
    assert given.isdisjoint(device.unsupported)
