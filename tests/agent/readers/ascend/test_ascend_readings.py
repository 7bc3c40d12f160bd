"""What the ascend reader reads, through the simulated library, and what it makes of captures of real chips."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fallow_agent.readers.reader import DeviceIdentity, Process, Reading
from fallow_proto.catalogue import find
from fallow_proto.metrics import Group
from fallow_proto.v1.telemetry_pb2 import Reason
from tests.agent.readers.nvidia.remote import RemoteReader
from tests.simulators.dcmi import scenario as dcmi_scenario
from tests.simulators.dcmi.scenario import AICORE, VECTOR_CORE, WHOLE_NPU, Chip, Scenario, ascend_910b2, uuid_of
from tests.simulators.dcmi.simulator import Simulator

pytestmark = pytest.mark.server("cc")

MIB = 2**20


def test_a_chip_is_named_by_what_its_driver_says(reader: RemoteReader, dcmi: Simulator) -> None:
    dcmi.play(Scenario((ascend_910b2(0), replace(ascend_910b2(1), physical=5))))
    first, second = reader.open()
    assert first == DeviceIdentity(
        uuid="E0F4EE64-802061B1-6A691492-89528485-00000000",
        vendor="ascend",
        model="910B2",
        index=0,
        minor=0,
        pci_bus_id="0000:c1:00.0",
        serial="033EXK10NA000000",
        driver_version="25.5.1",
    )
    assert (second.index, second.minor, second.pci_bus_id) == (1, 5, "0000:c2:00.0")


def test_an_idle_chip_is_read_in_base_units(reader: RemoteReader, dcmi: Simulator) -> None:
    dcmi.play(Scenario((ascend_910b2(0),)))
    (device,) = reader.open()
    assert reader.read(Group.FAST) == [Reading(device.uuid, {
        "utilization_ratio": 0.0,
        "memory_bandwidth_active_ratio": 0.0,
        "memory_usage_bytes": 3_432 * MIB,
        "memory_limit_bytes": 65_536 * MIB,
        "processes": 0.0,
        "power_watts": pytest.approx(101.3),
        "temperature_celsius": 47.0,
        "memory_temperature_celsius": 46.0,
        "recovery_action": 0.0,
    })]


def test_a_working_chip_shows_its_processes(reader: RemoteReader, dcmi: Simulator) -> None:
    dcmi.play(Scenario((replace(
        ascend_910b2(0), utilization_percent={AICORE: 83, WHOLE_NPU: 41}, hbm_used_mebibytes=60_000,
        power_deciwatts=3_120, processes=(dcmi_scenario.Process(37_656, 686 * MIB),),
    ),)))
    reader.open()
    (reading,) = reader.read(Group.FAST)
    assert reading.values["utilization_ratio"] == pytest.approx(0.83)
    assert reading.values["processes"] == 1.0
    assert reading.processes == (Process(37_656, 686.0 * MIB),)


def test_the_calls_of_a_tick_are_few_and_faults_are_asked_for_only_while_there_are_any(
    reader: RemoteReader, dcmi: Simulator
) -> None:
    dcmi.play(Scenario((ascend_910b2(0), ascend_910b2(1))))
    reader.open()

    def calls_of(group: Group) -> dict[str, int]:
        before = dcmi.calls()
        reader.read(group)
        return {name: calls - before.get(name, 0) for name, calls in dcmi.calls().items() if calls != before.get(name)}

    once_a_chip = {
        "dcmi_get_device_health": 2, "dcmi_get_device_hbm_info": 2, "dcmi_get_device_power_info": 2,
        "dcmi_get_device_temperature": 2, "dcmi_get_device_resource_info": 2, "dcmi_get_device_utilization_rate": 4,
    }
    assert calls_of(Group.FAST) == once_a_chip
    assert calls_of(Group.MEDIUM) == {}
    dcmi.change(1, health=1, error_codes=(0x80E01801,))
    assert calls_of(Group.FAST) == {**once_a_chip, "dcmi_get_device_errorcode_v2": 1}


def test_a_chip_without_hbm_has_its_ddr_and_what_it_does_not_offer_is_declared(
    reader: RemoteReader, dcmi: Simulator
) -> None:
    dcmi.play(Scenario((Chip(
        name="310P3", hbm_mebibytes=None, ddr_mebibytes=44_280, ddr_available_mebibytes=42_000, power_deciwatts=None,
        processes=None, utilization_percent={AICORE: 0, VECTOR_CORE: 7},
    ),)))
    (device,) = reader.open()
    assert device.unsupported == {
        "memory_bandwidth_active_ratio", "memory_temperature_celsius", "power_watts", "processes"
    }
    (reading,) = reader.read(Group.FAST)
    assert reading.values["memory_usage_bytes"] == 2_280 * MIB
    assert reading.values["utilization_ratio"] == pytest.approx(0.07)  # of the vector cores; the AI cores rest


@pytest.mark.parametrize(
    ("raw", "unknown"),
    [
        ({"utilization.2": "4294967295"}, {"utilization_ratio"}),
        ({"utilization.13": "101"}, {"utilization_ratio"}),
        ({"power": "-1"}, {"power_watts"}),
        ({"power": "2147483647"}, {"power_watts"}),
        ({"temperature": "-275"}, {"temperature_celsius"}),
        ({"temperature": "32765"}, {"temperature_celsius"}),
        ({"hbm_temperature": "-1"}, {"memory_temperature_celsius"}),
        ({"hbm_usage": "70000"}, {"memory_usage_bytes"}),
        ({"hbm_size": "0"}, {"memory_usage_bytes", "memory_limit_bytes"}),
        ({"hbm_usage": "-1"}, {"memory_usage_bytes"}),
    ],
)
def test_what_a_driver_invents_is_not_known(
    reader: RemoteReader, dcmi: Simulator, raw: dict[str, str | None], unknown: set[str]
) -> None:
    dcmi.play(Scenario((ascend_910b2(0),)))
    reader.open()
    before = set(reader.read(Group.FAST)[0].values)
    dcmi.change(0, raw=raw)
    (reading,) = reader.read(Group.FAST)
    assert before - set(reading.values) == unknown
    assert reading.reason == Reason.REASON_OK


def test_a_name_that_is_no_text_is_shown_as_far_as_it_is_one(reader: RemoteReader, dcmi: Simulator) -> None:
    dcmi.play(Scenario((replace(ascend_910b2(0), name="910\x07B\x7f2"),)))
    assert reader.open()[0].model == "910B2"


def test_a_chip_without_a_die_id_goes_by_its_card(reader: RemoteReader, dcmi: Simulator) -> None:
    blank = replace(ascend_910b2(0), die="0 0 0 0 0")
    dcmi.play(Scenario((blank, replace(ascend_910b2(1), die=None, serial=None))))
    assert [device.uuid for device in reader.open()] == ["033EXK10NA000000-0"]


def test_captured_910b2_are_told_as_another_tool_told_them(
    reader: RemoteReader, dcmi: Simulator, shared_data: Path
) -> None:
    """The capture is gpustack-runtime's of eight real 910B2, read through DCMI."""
    captured = json.loads((shared_data / "fixtures/detect_json/detect_output_ascend_910b2.json").read_text())
    dcmi.play(Scenario(tuple(
        Chip(
            card=each["appendix"]["card_id"], physical=each["appendix"]["physical_id"], name=each["name"],
            die=each["uuid"], pci=each["appendix"]["bdf"], hbm_mebibytes=each["memory"],
            hbm_used_mebibytes=each["memory_used"], power_deciwatts=round(each["power_used"] * 10),
            temperature_celsius=each["temperature"],
            utilization_percent={AICORE: each["cores_utilization"], WHOLE_NPU: 0},
        )
        for each in captured
    ), driver_version=captured[0]["driver_version"]))
    devices, readings = reader.open(), reader.read(Group.FAST)
    assert len(devices) == 8
    for each, device, reading in zip(captured, devices, readings, strict=True):
        assert device.uuid.split("-") == [f"{int(word, 16):08X}" for word in each["uuid"].split()]
        assert (device.index, device.pci_bus_id, device.model) == (each["index"], each["appendix"]["bdf"], "910B2")
        assert reading.values["power_watts"] == pytest.approx(each["power_used"])
        assert reading.values["memory_usage_bytes"] == each["memory_used"] * MIB
        chip = find(device.vendor, device.model)
        assert chip is not None
        assert reading.values["power_watts"] <= chip.idle_power_max_watts
        assert reading.values["memory_usage_bytes"] <= chip.base_memory_max_bytes


def test_two_chips_of_a_card_are_two_devices(reader: RemoteReader, dcmi: Simulator) -> None:
    first = ascend_910b2(0)
    second = replace(first, chip=1, die="1 2 3 4 5", pci="0000:C1:00.1", power_deciwatts=None)
    dcmi.play(Scenario((first, second)))
    devices = reader.open()
    assert [device.uuid for device in devices] == [uuid_of(first), "00000001-00000002-00000003-00000004-00000005"]
    assert [device.pci_bus_id for device in devices] == ["0000:c1:00.0", "0000:c1:00.1"]
    assert devices[1].unsupported == {"power_watts"}
