"""The directory of a fleet's devices, while nodes and devices come, go, move and change."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fallow_collector.fit.members import Directory, Members
from fallow_collector.fit.ranks import Ranks
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import WITNESSES
from fallow_proto.v1 import telemetry_pb2 as pb

NAMES = ("n2", "n10", "a", "")
LINKS = ("", "z", "m", "b")

hellos = st.builds(
    lambda node, site, rack, devices: pb.Hello(
        wire=1, node=node, site=site, rack=rack, epoch="e", interval_s=1.0,
        devices=[pb.Device(uuid=uuid, model=model, device_class="intelligent", link_domain=link)
                 for uuid, model, link in devices],
    ),
    st.sampled_from(NAMES), st.sampled_from(["s0", "s1"]), st.sampled_from(["", "r0", "r1"]),
    st.lists(
        st.tuples(st.sampled_from([f"u{i}" for i in range(6)]), st.sampled_from(["A", "B"]), st.sampled_from(LINKS)),
        max_size=4, unique_by=lambda device: device[0],
    ),
)


@given(st.lists(st.one_of(hellos, st.sampled_from([f"u{i}" for i in range(6)])), max_size=12))
def test_it_always_says_what_a_new_one_would_say(news: Sequence[pb.Hello | str]) -> None:
    fleet = Fleet(Engine(IdleSettings()), WITNESSES)
    directory = Directory(fleet)
    for one in news:
        if isinstance(one, pb.Hello):
            fleet.hello(one, 0.0, 0.0)
        elif (row := fleet.find(one)) is not None and not fleet.present[row]:
            fleet.retire(row)
        assert shown(fleet, directory.members()) == shown(fleet, Directory(fleet).members())


def shown(fleet: Fleet, members: Members) -> object:
    """Numbers of domains may differ, but not who is together, nor the order of the domains."""
    together = {
        same: np.unique(domain[domain >= 0], return_inverse=True)[1].tolist() + np.flatnonzero(domain < 0).tolist()
        for same, domain in members.domains.items()
    }
    places = {same: members.places(same).of.tolist() for same in members.domains}
    return members.rows.tolist(), members.nodes, members.node.tolist(), members.group.tolist(), together, places


def test_devices_are_in_the_order_of_their_nodes_and_uuids_whenever_they_came() -> None:
    fleet = Fleet(Engine(IdleSettings()), WITNESSES)
    directory = Directory(fleet)
    for node, uuids in (("n1", "fb"), ("n0", "e"), ("n1", "fba"), ("n0", "ed")):
        devices = [pb.Device(uuid=uuid, device_class="intelligent") for uuid in uuids]
        fleet.hello(pb.Hello(wire=1, node=node, epoch="e", interval_s=1.0, devices=devices), 0.0, 0.0)
        directory.members()
    assert [fleet.identities[row].uuid for row in directory.members().rows] == ["d", "e", "a", "b", "f"]


def test_a_hello_that_says_nothing_new_costs_nothing() -> None:
    fleet = Fleet(Engine(IdleSettings()), WITNESSES)
    directory = Directory(fleet)
    hello = pb.Hello(wire=1, node="n0", epoch="e", interval_s=1.0, devices=[pb.Device(uuid="a")])
    fleet.hello(hello, 0.0, 0.0)
    before = directory.members()
    fleet.hello(hello, 1.0, 1.0)
    assert directory.members() is before


@given(st.lists(st.lists(st.sampled_from(["", "a", "b", "c", "aa", "ab", "ba"]), max_size=5), max_size=5))
def test_ranks_are_those_of_sorting_however_the_words_came(batches: list[list[str]]) -> None:
    ranks = Ranks()
    numbers = [ranks.numbers(words) for words in batches]
    known = sorted({word for words in batches for word in words} - {""})
    assert ranks.words == tuple(known)
    for words, of in zip(batches, numbers, strict=True):
        assert ranks.of(of).tolist() == [known.index(word) if word else -1 for word in words]
