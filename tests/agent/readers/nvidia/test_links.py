"""Which devices reach each other over their own links."""

from collections import Counter
from dataclasses import replace

import pytest

from fallow_agent.readers.nvlink import Reach, domains
from tests.agent.readers.nvidia.remote import RemoteReader
from tests.simulators.nvml.scenario import Device, Fabric, Link, Scenario, h100
from tests.simulators.nvml.simulator import Simulator

GPU, POWER9, SWITCH, UNKNOWN = 0, 1, 2, 255
COMPLETED, IN_PROGRESS = 3, 2
CLUSTER = "0123456789abcdef0123456789abcdef"
NOT_SUPPORTED, NO_PERMISSION = 3, 4


@pytest.mark.parametrize(("reaches", "expected"), [
    ({}, {}),
    ({"a": Reach("1"), "b": Reach("2")}, {}),
    ({"a": Reach("1", frozenset({"2"})), "b": Reach("2", frozenset({"1"}))}, {"a": "nvlink-a", "b": "nvlink-a"}),
    ({"b": Reach("2"), "a": Reach("1", frozenset({"2"}))}, {"a": "nvlink-a", "b": "nvlink-a"}),  # one side tells
    # a chain, and two by a switch, told in an order that joins groups late
    ({"a": Reach("1", frozenset({"2"})), "c": Reach("3", frozenset({"2"})), "d": Reach("4", frozenset({"s"})),
      "b": Reach("2", frozenset({"1", "3"})), "e": Reach("5", frozenset({"s"})), "f": Reach("6", frozenset({"t"}))},
     {"a": "nvlink-a", "b": "nvlink-a", "c": "nvlink-a", "d": "nvlink-d", "e": "nvlink-d"}),
    ({"a": Reach("1", fabric="f"), "b": Reach("2", frozenset({"1"}))}, {"a": "f"}),
    ({"a": Reach("1", frozenset({"0000:00:00.0"})), "b": Reach("2", frozenset({"0000:00:00.0"}))}, {}),
    ({"a": Reach(""), "b": Reach("")}, {}),
])
def test_devices_whose_links_meet_are_one_domain(reaches: dict[str, Reach], expected: dict[str, str]) -> None:
    assert domains(reaches) == expected


def told(reader: RemoteReader, nvml: Simulator, *devices: Device) -> list[str]:
    """The domains of the devices, each as the number of the first device in it, or as what is said."""
    nvml.play(Scenario(devices))
    names = {f"nvlink-{device.uuid}": str(number) for number, device in enumerate(devices)}
    return [names.get(device.link_domain, device.link_domain) for device in reader.open()]


def address(number: int) -> str:
    return f"0000:{0x17 + number:02x}:00.0"


@pytest.mark.server("cc")
def test_four_boards_in_two_bridged_pairs_are_two_domains(reader: RemoteReader, nvml: Simulator) -> None:
    pairs = [replace(h100(n), links=(Link(GPU, address(n ^ 1)), None, Link(GPU, address(n ^ 1)))) for n in range(4)]
    assert told(reader, nvml, *pairs) == ["0", "0", "2", "2"]


@pytest.mark.server("cc")
def test_eight_boards_on_switches_are_one_domain_and_the_fabric_manager_of_one_node_makes_no_other(
    reader: RemoteReader, nvml: Simulator
) -> None:
    switches = tuple(Link(SWITCH, f"0000:c{n}:00.0") for n in range(4))
    alone = Fabric(COMPLETED, "0" * 32, 0)
    boards = [replace(h100(n), links=switches, fabric=alone) for n in range(8)]
    assert told(reader, nvml, *boards) == ["0"] * 8


@pytest.mark.server("cc")
@pytest.mark.parametrize(("fabric", "domain"), [
    (Fabric(COMPLETED, CLUSTER, 7), "fabric-01234567-89ab-cdef-0123-456789abcdef-7"),
    (Fabric(IN_PROGRESS, CLUSTER, 7), ""),
    (Fabric(COMPLETED, CLUSTER, 7, status=999), ""),
    (None, ""),
])
def test_a_fabric_is_one_domain_on_all_its_nodes_once_it_is_complete(
    reader: RemoteReader, nvml: Simulator, fabric: Fabric | None, domain: str
) -> None:
    assert told(reader, nvml, replace(h100(0), fabric=fabric)) == [domain]


@pytest.mark.server("cc")
@pytest.mark.parametrize("broken", [
    {"links": (None, None)},
    {"links": (Link(UNKNOWN, address(1)), Link(POWER9, address(1)))},
    {"links": (Link(SWITCH),)},
    {"links": (Link(SWITCH, "0000:00:00.0"),)},
    {"links": (Link(GPU, address(1)),), "faults": {"nvmlDeviceGetNvLinkState": NO_PERMISSION}},
    {"links": (Link(GPU, address(1)),), "faults": {"nvmlDeviceGetNvLinkRemotePciInfo_v2": NOT_SUPPORTED}},
    {},
])
def test_what_links_do_not_tell_is_not_known(reader: RemoteReader, nvml: Simulator, broken: dict[str, object]) -> None:
    assert told(reader, nvml, replace(h100(0), **broken), h100(1)) == ["", ""]  # type: ignore[arg-type]


@pytest.mark.server("cc")
def test_links_are_asked_for_once_and_not_at_all_where_there_are_none(reader: RemoteReader, nvml: Simulator) -> None:
    told(reader, nvml, replace(h100(0), links=(Link(SWITCH, "0000:c1:00.0"), None)), h100(1))
    asked = {name: calls for name, calls in nvml.calls().items() if "NvLink" in name or "Fabric" in name}
    assert asked == {
        "nvmlDeviceGetNvLinkState": 4,  # two links, the end of the list, and one board that has none
        "nvmlDeviceGetNvLinkRemoteDeviceType": 1,
        "nvmlDeviceGetNvLinkRemotePciInfo_v2": 1,
        "nvmlDeviceGetGpuFabricInfoV": 4,  # for the domain, and whether it can be read at the medium pace
    }
    before = Counter(nvml.calls())
    assert not reader.changed()
    assert not any("Link" in name or "Fabric" in name for name in Counter(nvml.calls()) - before)
