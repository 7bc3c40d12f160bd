"""Who the devices are, when the reader has to be opened again, and why it cannot be opened."""

from dataclasses import replace
from pathlib import Path

import pytest

from fallow_agent.readers.reader import DeviceIdentity, ReaderAbsent, ReaderError
from fallow_proto.v1.telemetry_pb2 import Reason
from tests.agent.readers.nvidia.remote import RemoteReader
from tests.simulators.nvml.scenario import NOT_OF_H100, ON, Mode, Scenario, h100
from tests.simulators.nvml.simulator import LIBRARY, Simulator

pytestmark = pytest.mark.server("cc")

INIT = "nvmlInitWithFlags"


def put_on_bus(sysfs: Path, address: str, driver: str, vendor: str = "0x10de", pci_class: str = "0x030200") -> None:
    """A PCI function as sysfs shows it."""
    folder = sysfs / "bus/pci/devices" / address
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "device").write_text("0x2330\n")
    (folder / "class").write_text(f"{pci_class}\n")
    if driver:
        (sysfs / "bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(Path("../../drivers") / driver)


def test_a_device_is_named_by_what_its_driver_says(reader: RemoteReader, nvml: Simulator) -> None:
    moved = replace(h100(1), pci_domain=0x10000, pci_bus=0xE1, minor=5)
    nvml.play(Scenario((h100(0), moved), driver_version="570.195"))
    first, second = reader.open()
    assert first == DeviceIdentity(
        uuid="GPU-78073210-c690-bb74-d538-000000000000",
        vendor="nvidia",
        model="NVIDIA H100 80GB HBM3",
        index=0,
        device_class="intelligent",
        minor=0,
        pci_bus_id="0000:17:00.0",
        serial="1650522003820",
        driver_version="570.195",
        mode="mig=0 ecc=1",
        unsupported=NOT_OF_H100,
    )
    assert (second.index, second.minor, second.pci_bus_id) == (1, 5, "10000:e1:00.0")


def test_an_identity_does_without_what_a_board_does_not_have(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario((
        replace(h100(0), serial=None, minor=None, mig=None, ecc=None, compute_mode=None, pci_bus=0x0E),
    )))
    (device,) = reader.open()
    assert (device.serial, device.minor, device.mode, device.conditions) == ("", None, "", ())


@pytest.mark.parametrize(
    ("changes", "conditions", "mode"),
    [
        ({"compute_mode": 2}, ("compute_prohibited",), "mig=0 ecc=1"),
        ({"compute_mode": 3}, (), "mig=0 ecc=1"),
        ({"mig": Mode(0, 1)}, ("mode_change_pending",), "mig=0 ecc=1"),
        ({"ecc": Mode(1, 0)}, ("mode_change_pending",), "mig=0 ecc=1"),
        ({"mig": ON}, (), "mig=1 ecc=1"),
        ({"compute_mode": 2, "ecc": Mode(0, 1)}, ("compute_prohibited", "mode_change_pending"), "mig=0 ecc=0"),
    ],
)
def test_modes_are_conditions_and_change_under_a_running_reader(
    reader: RemoteReader, nvml: Simulator, changes: dict[str, object], conditions: tuple[str, ...], mode: str
) -> None:
    nvml.play(Scenario((h100(0),)))
    reader.open()
    assert not reader.changed()
    nvml.change(0, **changes)
    assert reader.changed()
    (device,) = reader.open()
    assert (device.conditions, device.mode) == (conditions, mode)
    assert not reader.changed()


def test_load_is_no_change_and_another_device_or_driver_is(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario((h100(0),)))
    reader.open()
    nvml.change(0, utilization_percent=100, power_milliwatts=700_000)
    assert not reader.changed()
    nvml.play(Scenario((h100(0), h100(1))))
    assert reader.changed()
    assert len(reader.open()) == 2
    nvml.play(Scenario((h100(0), h100(1)), driver_version="590.10"))
    assert reader.changed()


def test_every_initialisation_is_let_go_of(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario((h100(0),)))
    reader.open()
    reader.open()
    reader.close()
    nvml.play(Scenario(()))
    with pytest.raises(ReaderAbsent):
        reader.open()
    calls = nvml.calls()
    assert calls[INIT] == calls["nvmlShutdown"] == 3


def test_without_devices_there_is_nothing_of_this_vendor(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario())
    with pytest.raises(ReaderAbsent, match="NVML sees no device"):
        reader.open()


def test_devices_on_the_bus_that_nvml_does_not_see_are_a_fault(
    reader: RemoteReader, nvml: Simulator, sysfs: Path
) -> None:
    nvml.play(Scenario())
    put_on_bus(sysfs, "0000:17:00.0", "nvidia")
    put_on_bus(sysfs, "0000:18:00.0", "nvidia")
    with pytest.raises(ReaderError, match=r"2 NVIDIA devices.*0000:17:00\.0 \(kernel driver: nvidia\)") as raised:
        reader.open()
    assert raised.value.reason == Reason.REASON_FAILED  # its driver is there
    assert not isinstance(raised.value, ReaderAbsent)


@pytest.mark.parametrize(
    ("driver", "vendor", "pci_class"),
    [
        ("vfio-pci", "0x10de", "0x030200"),  # handed to a virtual machine
        ("snd_hda_intel", "0x10de", "0x040300"),  # the sound of a graphics board
        ("nvidia-nvswitch", "0x10de", "0x068000"),
        ("amdgpu", "0x1002", "0x030000"),
    ],
)
def test_other_functions_on_the_bus_are_no_devices_of_ours(
    reader: RemoteReader, nvml: Simulator, sysfs: Path, driver: str, vendor: str, pci_class: str
) -> None:
    nvml.play(Scenario())
    put_on_bus(sysfs, "0000:17:00.0", driver, vendor, pci_class)
    with pytest.raises(ReaderAbsent):
        reader.open()


def test_a_driver_that_is_not_loaded_is_a_fault_only_with_devices(
    reader: RemoteReader, nvml: Simulator, sysfs: Path
) -> None:
    nvml.play(Scenario(faults={INIT: 9}))
    with pytest.raises(ReaderAbsent, match="not loaded"):
        reader.open()
    put_on_bus(sysfs, "0000:17:00.0", "")
    with pytest.raises(ReaderError, match=r"kernel driver: none.*modprobe nvidia") as raised:
        reader.open()
    assert raised.value.reason == Reason.REASON_DRIVER
    assert not isinstance(raised.value, ReaderAbsent)


def test_a_driver_of_another_version_is_named_with_what_to_do(
    reader: RemoteReader, nvml: Simulator, sysfs: Path
) -> None:
    nvml.play(Scenario(faults={INIT: 18}))
    with pytest.raises(ReaderError, match="version not known"):
        reader.open()
    (sysfs / "module/nvidia").mkdir(parents=True)
    (sysfs / "module/nvidia/version").write_text("580.95.05\n")
    with pytest.raises(ReaderError, match=r"580\.95\.05.*reload the driver.*or reboot"):
        reader.open()


@pytest.mark.parametrize(("code", "message", "reason"), [
    (4, "DeviceAllow", Reason.REASON_NOT_PERMITTED),
    (999, "code 999", Reason.REASON_FAILED),
])
def test_other_failures_of_the_library_say_what_to_look_at(
    reader: RemoteReader, nvml: Simulator, code: int, message: str, reason: Reason.ValueType
) -> None:
    nvml.play(Scenario(faults={INIT: code}))
    with pytest.raises(ReaderError, match=message) as raised:
        reader.open()
    assert raised.value.reason == reason


def test_devices_none_of_which_can_be_named_are_a_fault(reader: RemoteReader, nvml: Simulator) -> None:
    nvml.play(Scenario((replace(h100(0), faults={"*": 4}),)))
    with pytest.raises(ReaderError, match=r"none of 1 NVIDIA devices can be named.*Insufficient Permissions"):
        reader.open()


def test_a_library_that_cannot_be_loaded_is_a_fault_only_with_devices(tmp_path: Path, sysfs: Path) -> None:
    (tmp_path / LIBRARY).write_text("of another machine")  # hides the real one of this machine, if it has one
    reader = RemoteReader({"LD_LIBRARY_PATH": str(tmp_path)}, sysfs)
    try:
        with pytest.raises(ReaderAbsent, match="no libnvidia-ml"):
            reader.open()
        put_on_bus(sysfs, "0000:17:00.0", "nouveau")
        with pytest.raises(ReaderError, match=r"kernel driver: nouveau.*LD_LIBRARY_PATH") as raised:
            reader.open()
        assert not isinstance(raised.value, ReaderAbsent)
    finally:
        reader.stop()
