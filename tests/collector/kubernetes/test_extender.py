"""The extender's answers, from rooms as they may be."""

from typing import Any

from fallow_collector.kubernetes.extender import Args, HostPriority, Room, filter_nodes, prioritize
from fallow_proto.kubernetes.resources import Kind

GPU, XPU = Kind("nvidia"), Kind("kunlunxin")
ROOMS = {
    "free": Room(True, 8, 8),
    "half": Room(True, 8, 4, 4, {"leased": 4}),
    "working": Room(True, 8, 1, 0, {"active": 5, "cordoned": 2}),
    "unknown": Room(False),
}
NAMES = list(ROOMS)


def room_of(name: str, kind: Kind) -> Room:
    return ROOMS[name] if kind == GPU else Room(True, 0, 0)


def nodes(*names: str) -> dict[str, Any]:
    return {"kind": "NodeList", "items": [{"metadata": {"name": name}, "spec": {"x": 1}} for name in names]}


def test_only_nodes_with_enough_idle_devices_pass_and_the_others_say_why() -> None:
    result = filter_nodes(Args(node_names=NAMES), {GPU: 6}, room_of)
    assert result.node_names == ["free"]
    assert result.nodes is None
    assert result.failed_nodes == {"half": "fallow: 4/8 nvidia idle, 6 asked: 4 leased"}
    assert result.failed_and_unresolvable_nodes == {
        "working": "fallow: 1/8 nvidia idle, 6 asked: 5 active, 2 cordoned",
        "unknown": "fallow: no agent speaks for this node, so nothing of it is known; 6 nvidia asked",
    }
    assert result.error == ""


def test_whole_nodes_come_back_as_they_were_sent() -> None:
    asked = nodes("free", "working")
    result = filter_nodes(Args(nodes=asked), {GPU: 8}, room_of)
    assert result.nodes == nodes("free")
    assert result.node_names is None


def test_a_pod_that_asks_for_nothing_fits_everywhere() -> None:
    result = filter_nodes(Args(node_names=NAMES), {}, room_of)
    assert (result.node_names, result.failed_nodes, result.failed_and_unresolvable_nodes) == (NAMES, {}, {})


def test_a_node_that_lacks_one_kind_fails_even_if_the_other_is_there() -> None:
    result = filter_nodes(Args(node_names=["free", "half"]), {GPU: 6, XPU: 1}, room_of)
    assert result.node_names == []
    assert set(result.failed_and_unresolvable_nodes) == {"free", "half"}
    assert result.failed_nodes == {}


def test_the_fullest_node_that_still_fits_is_the_best() -> None:
    assert prioritize(Args(node_names=NAMES), {GPU: 4}, room_of) == [
        HostPriority("free", 5), HostPriority("half", 10), HostPriority("working", 0), HostPriority("unknown", 0),
    ]
