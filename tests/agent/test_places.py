"""Which device a line of the kernel's log speaks of."""

from fallow_agent.places import Places
from fallow_agent.readers.attribution import NOWHERE, Place
from fallow_agent.readers.kernel_nvidia import told
from fallow_agent.readers.reader import DeviceIdentity

ADDRESS = "0000:3b:00.0"
BOARD = DeviceIdentity("GPU-1", "nvidia", "One", 0, pci_bus_id=ADDRESS)


def instance(uuid: str, gpu: int, compute: int = 0) -> DeviceIdentity:
    return DeviceIdentity(uuid, "nvidia", "One", 0, parent=BOARD.uuid, place=Place(gpu, compute))


def test_an_instance_is_meant_from_when_it_was_named_and_before_that_its_board() -> None:
    places = Places()
    places.learn([BOARD, instance("MIG-1", 1)], now=100.0)
    assert places.device_at(ADDRESS, Place(1, 0), at=100.0) == "MIG-1"
    assert places.device_at(ADDRESS, Place(1), at=99.0) == BOARD.uuid  # another may have been there
    assert places.device_at(ADDRESS, NOWHERE, at=100.0) == BOARD.uuid
    assert places.device_at("0000:ff:00.0", Place(1), at=100.0) == ""


def test_an_instance_that_stays_is_known_since_it_was_first_named_and_another_in_its_place_since_then() -> None:
    places = Places()
    places.learn([BOARD, instance("MIG-1", 1), instance("MIG-2", 2)], now=100.0)
    places.learn([BOARD, instance("MIG-1", 1), instance("MIG-3", 2)], now=200.0)
    assert places.device_at(ADDRESS, Place(1), at=150.0) == "MIG-1"
    assert places.device_at(ADDRESS, Place(2), at=150.0) == BOARD.uuid
    assert places.device_at(ADDRESS, Place(2), at=200.0) == "MIG-3"


def test_devices_of_another_reader_change_nothing() -> None:
    places = Places()
    places.learn([BOARD, instance("MIG-1", 1)], now=100.0)
    places.learn([DeviceIdentity("cpu", "intel", "Two", 0)], now=101.0)
    assert places.device_at(ADDRESS, Place(1), at=102.0) == "MIG-1"


def test_the_kernel_s_line_names_the_place() -> None:
    line = "NVRM: Xid (PCI:0000:3b:00{}): 13, pid=9, name=a, x"
    assert [said and said.place for said in map(told, (
        line.format(" GPU-I:01 GPU-CI:02"), line.format(" GPU-I:05"), line.format(""), line.format(" GPU-I:what"),
    ))] == [Place(1, 2), Place(5), NOWHERE, NOWHERE]
