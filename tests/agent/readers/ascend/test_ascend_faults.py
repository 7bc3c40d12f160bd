"""Chips and drivers that fail: what is said, and that nothing else is affected."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fallow_agent.readers.dcmi_faults import Handling, catalogue
from fallow_agent.readers.dcmi_values import recovery_action
from fallow_agent.readers.reader import ReaderAbsent, ReaderError, Reading
from fallow_proto.metrics import Group
from fallow_proto.v1.telemetry_pb2 import Reason
from tests.agent.readers.nvidia.remote import RemoteReader
from tests.agent.readers.nvidia.test_opening import put_on_bus
from tests.simulators.dcmi.scenario import Hang, Scenario, ascend_910b2, uuid_of
from tests.simulators.dcmi.simulator import LIBRARY, Simulator

pytestmark = pytest.mark.server("cc")

NOT_PERMITTED, TIME_OUT, DEVICE_NOT_EXIST, IOCTL_FAIL = -8002, -8006, -8008, -8009
NOT_READY, NOT_SUPPORTED = -8012, -8255
DRIVER = "devdrv_device_driver"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (NOT_PERMITTED, Reason.REASON_NOT_PERMITTED),
        (-8013, Reason.REASON_NOT_PERMITTED),
        (TIME_OUT, Reason.REASON_TIMEOUT),
        (NOT_READY, Reason.REASON_TIMEOUT),
        (-8007, Reason.REASON_LOST),
        (DEVICE_NOT_EXIST, Reason.REASON_LOST),
        (IOCTL_FAIL, Reason.REASON_FAILED),
        (-1, Reason.REASON_FAILED),
    ],
)
def test_a_chip_that_fails_says_why_and_blanks_no_other(
    reader: RemoteReader, dcmi: Simulator, code: int, reason: Reason.ValueType
) -> None:
    chips = tuple(ascend_910b2(number) for number in range(3))
    dcmi.play(Scenario(chips))
    reader.open()
    dcmi.change(1, faults={"*": code})
    first, failed, last = reader.read(Group.FAST)
    assert failed == Reading(uuid_of(chips[1]), reason=reason)
    for other in (first, last):
        assert set(other.values) == set(reader.columns(Group.FAST))
    dcmi.change(1, faults={})
    assert reader.read(Group.FAST)[1].reason == Reason.REASON_OK


def test_a_chip_whose_health_says_that_it_does_not_exist_is_lost(reader: RemoteReader, dcmi: Simulator) -> None:
    dcmi.play(Scenario((ascend_910b2(0),)))
    reader.open()
    dcmi.change(0, raw={"health": "4294967295"})
    assert reader.read(Group.FAST) == [Reading(uuid_of(ascend_910b2(0)), reason=Reason.REASON_LOST)]


@pytest.mark.parametrize(
    ("health", "codes", "action"),
    [
        (0, (), 0),
        (1, (), 0),  # a minor alarm
        (1, (0x80E01805,), 0),  # not handled
        (2, (0x80E01801,), 0),  # restart the job
        (3, (0x40F84E00,), 1),  # the card has dropped: reset
        (2, (0x8C204E00, 0x8C044E00), 4),  # reset when it is free
        (3, (0x80E18402,), 64),  # take it out of service
        (2, (), 64),  # a major alarm that tells no fault
        (3, (0x80E01801, 0x12345678), 64),  # one that nobody knows
        (1, (0x12345678,), 0),
        (7, (), 64),  # a level that the manual does not have
    ],
)
def test_an_alarm_asks_for_what_huawei_does_about_its_fault(
    reader: RemoteReader, dcmi: Simulator, health: int, codes: tuple[int, ...], action: int
) -> None:
    dcmi.play(Scenario((replace(ascend_910b2(0), health=health, error_codes=codes),)))
    reader.open()
    assert reader.read(Group.FAST)[0].values["recovery_action"] == action


def test_faults_that_cannot_be_read_leave_open_what_to_do(reader: RemoteReader, dcmi: Simulator) -> None:
    dcmi.play(Scenario((ascend_910b2(0),)))
    reader.open()
    dcmi.change(0, health=3, faults={"dcmi_get_device_errorcode_v2": IOCTL_FAIL})
    assert "recovery_action" not in reader.read(Group.FAST)[0].values


def test_every_fault_of_huaweis_table_has_an_action_and_the_graver_class_wins() -> None:
    assert len(catalogue()) == 350
    assert {recovery_action(3, (code,)) for code in catalogue()} == {0, 1, 4, 64}
    assert catalogue()[0xA2301001] is Handling.ISOLATE  # stands among those of a restarted job as well


def test_a_call_that_hangs_hangs_the_process_and_goes_on_when_it_returns(reader: RemoteReader, dcmi: Simulator) -> None:
    dcmi.play(Scenario((ascend_910b2(0), ascend_910b2(1))))
    reader.open()
    dcmi.change(1, faults={"dcmi_get_device_health": Hang()})
    reader.send("read", Group.FAST)
    assert not reader.answered(within_s=0.2)
    dcmi.change(1, faults={})
    assert [reading.reason for reading in reader.receive()] == [Reason.REASON_OK, Reason.REASON_OK]


def test_a_call_that_the_driver_takes_back_makes_the_reader_open_again(reader: RemoteReader, dcmi: Simulator) -> None:
    dcmi.play(Scenario((ascend_910b2(0),)))
    reader.open()
    dcmi.change(0, processes=None)
    assert "processes" not in reader.read(Group.FAST)[0].values
    assert reader.changed()
    assert reader.open()[0].unsupported == {"processes"}


def test_another_chip_or_driver_is_a_change_and_load_is_none(reader: RemoteReader, dcmi: Simulator) -> None:
    dcmi.play(Scenario((ascend_910b2(0),)))
    reader.open()
    dcmi.change(0, utilization_percent={2: 90, 13: 90}, health=2)
    assert not reader.changed()
    dcmi.play(replace(dcmi.scenario, driver_version="26.0"))
    assert reader.changed()
    reader.open()
    dcmi.play(replace(dcmi.scenario, chips=(ascend_910b2(0), ascend_910b2(1))))
    assert reader.changed()
    assert len(reader.open()) == 2


@pytest.mark.parametrize("half", [
    {"faults": {"dcmi_get_device_logic_id": IOCTL_FAIL}}, {"die": None, "serial": None},
], ids=["no logic id", "no die id and no serial number"])
def test_a_chip_that_can_be_named_by_half_does_not_have_the_others_opened_again_and_again(
    reader: RemoteReader, dcmi: Simulator, half: dict[str, Any]
) -> None:
    dcmi.play(Scenario((replace(ascend_910b2(0), **half), ascend_910b2(1))))
    assert len(reader.open()) == 1
    assert not reader.changed()


def test_a_chip_that_cannot_be_named_is_left_out_until_it_can_be(reader: RemoteReader, dcmi: Simulator) -> None:
    dcmi.play(Scenario((replace(ascend_910b2(0), faults={"*": NOT_READY}), ascend_910b2(1))))
    assert [device.index for device in reader.open()] == [1]
    assert not reader.changed()
    dcmi.change(0, faults={})
    assert reader.changed()
    assert [device.index for device in reader.open()] == [0, 1]


def test_without_library_and_chips_there_is_nothing_to_read(sysfs: Path) -> None:
    reader = RemoteReader({"LD_LIBRARY_PATH": ""}, sysfs, "ascend")
    try:
        with pytest.raises(ReaderAbsent, match=f"no {LIBRARY}"):
            reader.open()
    finally:
        reader.stop()


def test_chips_on_the_bus_without_a_library_are_a_fault(sysfs: Path) -> None:
    put_on_bus(sysfs, "0000:c1:00.0", DRIVER, vendor="0x19e5", pci_class="0x120000")
    reader = RemoteReader({"LD_LIBRARY_PATH": ""}, sysfs, "ascend")
    try:
        with pytest.raises(ReaderError, match=r"cannot be loaded .*0000:c1:00\.0") as raised:
            reader.open()
        assert not isinstance(raised.value, ReaderAbsent)
    finally:
        reader.stop()


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({"dcmi_init": NOT_PERMITTED}, "group HwHiAiUser"),
        ({"dcmi_init": IOCTL_FAIL}, "DCMI does not start: dcmi_init answers -8009"),
        ({"dcmi_get_card_list": NOT_SUPPORTED}, "second generation"),
        ({}, "DCMI sees no chip, but there are"),
    ],
)
def test_a_driver_that_does_not_start_is_explained(
    reader: RemoteReader, dcmi: Simulator, sysfs: Path, faults: dict[str, int], says: str
) -> None:
    put_on_bus(sysfs, "0000:c1:00.0", DRIVER, vendor="0x19e5", pci_class="0x120000")
    dcmi.play(Scenario(faults=faults))
    with pytest.raises(ReaderError, match=says):
        reader.open()


def test_a_chip_that_belongs_to_a_virtual_machine_is_nothing_for_the_reader(
    reader: RemoteReader, dcmi: Simulator, sysfs: Path
) -> None:
    put_on_bus(sysfs, "0000:c1:00.0", "vfio-pci", vendor="0x19e5", pci_class="0x120000")
    dcmi.play(Scenario())
    with pytest.raises(ReaderAbsent):
        reader.open()
