"""Best fit: which nodes are used, and which stay whole."""

from dataclasses import replace

import pytest

from fallow_collector.fit.fit import fit
from fallow_proto.dispatch import Request
from tests.collector.fit.fleets import Built, Facts, nodes, per_node


@pytest.mark.parametrize(("found", "request_", "used"), [
    pytest.param([("a", 8, 8), ("b", 5, 8), ("c", 4, 8)], Request(count=4), {"c": 4}, id="used up exactly"),
    pytest.param([("a", 8, 8), ("b", 6, 8), ("c", 5, 8)], Request(count=4), {"c": 4}, id="fewest left over"),
    pytest.param([("a", 8, 8), ("b", 3, 8), ("c", 3, 8)], Request(count=4), {"b": 3, "c": 1}, id="whole stays whole"),
    pytest.param([("a", 8, 8), ("b", 3, 8)], Request(count=4), {"b": 3, "a": 1}, id="whole is broken last"),
    pytest.param([("a", 8, 8), ("b", 1, 8)], Request(count=4, same="node"), {"a": 4}, id="one node asked for"),
    pytest.param([("a", 8, 8), ("b", 7, 8), ("c", 7, 8)], Request(count=8), {"a": 8}, id="a whole node is used whole"),
    pytest.param([("a", 8, 8), ("b", 8, 8), ("c", 2, 8), ("d", 1, 8)], Request(count=9), {"a": 8, "d": 1},
                 id="what is left over a whole node goes to the most broken"),
    pytest.param([("a", 4, 4), ("b", 4, 8)], Request(count=4), {"b": 4}, id="broken before whole"),
    pytest.param([("a", 1, 1), ("b", 1, 1), ("c", 2, 8)], Request(count=2), {"c": 2}, id="fewest nodes"),
    pytest.param([("a", 2, 8), ("b", 2, 8), ("c", 2, 8)], Request(count=4), {"a": 2, "b": 2}, id="then by name"),
    pytest.param([("a", 8, 8), ("b", 5, 8), ("c", 4, 8)], Request(count=4, per_node=4), {"c": 4}, id="per node"),
    pytest.param([("a", 8, 8), ("b", 5, 8), ("c", 6, 8), ("d", 3, 8)], Request(count=8, per_node=4),
                 {"b": 4, "c": 4}, id="per node, the most broken"),
    pytest.param([("a", 8, 8), ("b", 2, 8)], Request(count=2, per_node=1), {"b": 1, "a": 1}, id="one on each"),
    pytest.param([(f"n{i:02}", 1, 8) for i in range(40)], Request(count=30), {f"n{i:02}": 1 for i in range(30)},
                 id="a gang of fragments"),
])
def test_what_is_whole_stays_whole(
    found: list[tuple[str, int, int]], request_: Request, used: dict[str, int]
) -> None:
    built = Built(nodes(*found))
    assert per_node(built.uuids(fit(built.offer, request_).chosen)) == used


def test_the_smallest_domain_that_has_room_is_chosen() -> None:
    devices = [replace(one, rack="r1") for one in nodes(("a", 8, 8), ("b", 8, 8))]
    devices += [replace(one, rack="r2") for one in nodes(("c", 8, 8), ("d", 2, 8))]
    devices += [replace(one, rack="r3") for one in nodes(("e", 7, 8))]
    built = Built(devices)
    assert per_node(built.uuids(fit(built.offer, Request(count=9, same="rack")).chosen)) == {"c": 8, "d": 1}


def test_racks_of_two_sites_with_one_name_are_two_racks() -> None:
    devices = [replace(one, rack="r1") for one in nodes(("a", 4, 4))]
    devices += [replace(one, rack="r1", site="s1") for one in nodes(("b", 4, 4))]
    assert fit(Built(devices).offer, Request(count=5, same="rack")).largest == 4


def test_a_link_domain_may_span_nodes_and_split_one() -> None:
    devices = [replace(one, link=f"pair{n // 2}") for n, one in enumerate(nodes(("a", 4, 4), ("b", 4, 4)))]
    devices += [replace(one, link="nvl") for one in nodes(("c", 4, 4), ("d", 4, 4))]
    built = Built(devices)
    assert per_node(built.uuids(fit(built.offer, Request(count=2, same="link")).chosen)) == {"a": 2}
    assert per_node(built.uuids(fit(built.offer, Request(count=6, same="link")).chosen)) == {"c": 4, "d": 2}


def test_devices_whose_rack_is_not_known_share_no_rack() -> None:
    found = fit(Built(nodes(("a", 4, 4))).offer, Request(count=1, same="rack"))
    assert (found.largest, [(short.reason, short.devices) for short in found.short]) == (0, [("domain_unknown", 4)])


def test_of_devices_alike_the_freshest_is_taken_then_the_first_by_uuid() -> None:
    devices = [Facts("c", age_s=0.1), Facts("b", age_s=0.9), Facts("a", age_s=3.0), Facts("d", age_s=0.0)]
    built = Built(devices)
    assert built.uuids(fit(built.offer, Request(count=2)).chosen) == ["b", "c"]


def test_of_nodes_alike_the_freshest_is_taken() -> None:
    devices = [replace(one, age_s=3.0) for one in nodes(("a", 2, 4))] + nodes(("b", 2, 4))
    built = Built(devices)
    assert per_node(built.uuids(fit(built.offer, Request(count=2)).chosen)) == {"b": 2}
