"""What is on the PCI bus and read by nobody."""

import re
from pathlib import Path

import pytest

from fallow_agent.readers.pci_bus import PciFunction, accelerators, displays_of, processors_of
from fallow_agent.unread import unread, uuid_of
from fallow_proto.v1 import telemetry_pb2 as pb

LINE = re.compile(r"^(\S+) .*?\[([0-9a-f]{4})\]: .*\[([0-9a-f]{4}):([0-9a-f]{4})\]")


def put(sysfs: Path, address: str, ids: str, pci_class: str, driver: str = "", virtual: bool = False) -> None:
    """A PCI function as sysfs shows it; ids as "10de:2330", the class as lspci has it."""
    folder = sysfs / "bus/pci/devices" / address
    folder.mkdir(parents=True)
    vendor, device = ids.split(":")
    for name, text in (("vendor", f"0x{vendor}"), ("device", f"0x{device}"), ("class", f"0x{pci_class}00")):
        (folder / name).write_text(f"{text}\n")
    if driver:
        (sysfs / "bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(Path("../../drivers") / driver)
    if virtual:
        (folder / "physfn").symlink_to("../elsewhere")


def addresses(sysfs: Path) -> list[str]:
    return [found.function.address for found in accelerators(sysfs)]


@pytest.mark.parametrize(
    ("ids", "pci_class", "vendor"),
    [
        ("10de:2330", "0302", "nvidia"),
        ("10de:2684", "0300", "nvidia"),
        ("1002:74a1", "1200", "amd"),
        ("1002:740f", "0380", "amd"),
        ("8086:0bd5", "0380", "intel"),
        ("19e5:d802", "1200", "ascend"),
        ("cabc:0370", "1200", "cambricon"),
        ("9999:4000", "0300", "metax"),
        ("1e3e:0002", "0302", "iluvatar"),
        ("1d94:6320", "0b40", "hygon"),
        ("1ed5:0400", "0300", "mthreads"),
        ("1ded:6001", "1200", "thead"),
        ("1e36:c035", "1200", "enflame"),
        ("2057:3686", "1200", "kunlunxin"),
        ("1edb:0001", "1200", "vastai"),
        ("10ee:5005", "1200", "10ee"),  # of a vendor that nobody knows
    ],
)
def test_an_accelerator_of_any_vendor_is_shown_unread(tmp_path: Path, ids: str, pci_class: str, vendor: str) -> None:
    put(tmp_path, "0000:17:00.0", ids, pci_class, "some")
    (device,) = unread(accelerators(tmp_path), [], "n1")
    assert device == pb.Device(
        uuid=uuid_of("n1", "0000:17:00.0"), vendor=vendor, model=f"pci {ids}", device_class="intelligent", index=0,
        pci_bus_id="0000:17:00.0", conditions=["unread"],
    )


@pytest.mark.parametrize(
    ("address", "ids", "pci_class"),
    [
        ("0000:03:00.0", "1a03:2000", "0300"),  # ASPEED, of a management controller
        ("0000:03:00.0", "102b:0536", "0300"),  # Matrox, the same
        ("0000:00:02.0", "1b36:0100", "0300"),  # QXL
        ("0000:00:02.0", "8086:9bc5", "0300"),  # graphics in a processor
        ("0000:6b:00.0", "8086:4940", "0b40"),  # QAT: encryption
        ("0000:17:00.1", "10de:22a3", "0403"),  # a board's sound
        ("0005:00:00.0", "10de:1af1", "0680"),  # NVSwitch
        ("0000:17:00.0", "15b3:101c", "0207"),
    ],
)
def test_what_does_not_compute_is_no_accelerator(tmp_path: Path, address: str, ids: str, pci_class: str) -> None:
    put(tmp_path, address, ids, pci_class)
    assert addresses(tmp_path) == []


def test_what_a_reader_named_is_not_unread(tmp_path: Path) -> None:
    put(tmp_path, "0000:17:00.0", "10de:2330", "0302", "nvidia")
    put(tmp_path, "0000:18:00.0", "10de:2330", "0302", "nvidia")
    read = pb.Device(uuid="GPU-1", pci_bus_id="0000:17:00.0")
    assert [device.pci_bus_id for device in unread(accelerators(tmp_path), [read], "n1")] == ["0000:18:00.0"]


def test_what_belongs_to_a_virtual_machine_is_passed_through_and_no_readers_business(tmp_path: Path) -> None:
    put(tmp_path, "0000:17:00.0", "10de:2330", "0302", "vfio-pci")
    put(tmp_path, "0000:c1:00.0", "19e5:d802", "1200", "devdrv_device_driver")
    put(tmp_path, "0000:c2:00.0", "19e5:d802", "1200", "vfio-pci")
    conditions = [list(device.conditions) for device in unread(accelerators(tmp_path), [], "n1")]
    assert conditions == [["passthrough"], ["unread"], ["passthrough"]]
    assert displays_of(0x10DE, tmp_path) == []
    assert processors_of(0x19E5, tmp_path) == [PciFunction("0000:c1:00.0", "devdrv_device_driver")]


def test_virtual_functions_and_what_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "0000:17:00.0", "1002:74a1", "1200")
    put(tmp_path, "0000:17:02.0", "1002:74b5", "1200", virtual=True)
    put(tmp_path, "0000:18:00.0", "1002:74a1", "1200")
    (tmp_path / "bus/pci/devices/0000:18:00.0/class").write_text("half a l")
    assert addresses(tmp_path) == ["0000:17:00.0"]
    assert addresses(tmp_path / "nothing") == []


def test_its_name_lasts_and_is_its_nodes_alone() -> None:
    assert uuid_of("n1", "0000:17:00.0") == uuid_of("n1", "0000:17:00.0")
    assert len({uuid_of("n1", "0000:17:00.0"), uuid_of("n2", "0000:17:00.0"), uuid_of("n1", "0000:18:00.0")}) == 3


def test_of_a_captured_bus_the_eight_boards_are_found_and_nothing_else(tmp_path: Path, shared_data: Path) -> None:
    """The capture is of a cloud's node with eight A100, six NVSwitches and eight InfiniBand ports."""
    lines = (shared_data / "fixtures/lspci/lspci_nn_a100.txt").read_text().splitlines()
    for line in lines:
        if found := LINE.match(line):
            address, pci_class, vendor, device = found.groups()
            put(tmp_path, address, f"{vendor}:{device}", pci_class)
    devices = unread(accelerators(tmp_path), [], "n1")
    assert {(device.vendor, device.model) for device in devices} == {("nvidia", "pci 10de:20b2")}
    assert len(devices) == 8
