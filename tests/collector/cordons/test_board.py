"""What all cordons together make of each device."""

from fallow_collector.cordons.board import Board
from fallow_collector.cordons.entry import Clocks, Entry
from fallow_collector.idle.phase import SERVICES
from fallow_proto.states import Service
from tests.collector.watching import Watched, device

AT = Clocks(1000.0, 1_700_000_000.0)


def entry(name: str, kind: Service = Service.CORDONED, device: str = "", node: str = "", **when: float) -> Entry:
    return Entry(name, kind, device, node, "ops", "why", AT.wall, **when)


def site() -> Watched:
    """Nodes n1 (g0, and m0 and m1 that are partitions of it, and g1) and n2 (h0)."""
    first = Watched(device("g0"), device("m0", parent="g0"), device("m1", parent="g0"), device("g1"))
    Watched(device("h0"), node="n2", fleet=first.fleet, engine=first.engine)
    return first


def services(board: Board, watched: Watched, at: Clocks = AT) -> dict[str, str]:
    """Of what is not in service."""
    codes = board.service(at)
    words = {one.uuid: str(SERVICES[codes[row]]) for row, one in enumerate(watched.fleet.identities)}
    return {uuid: word for uuid, word in words.items() if word != "in_service"}


def test_without_cordons_everything_is_in_service() -> None:
    watched = site()
    assert services(Board(watched.fleet), watched) == {}


def test_a_cordon_of_a_node_is_on_all_its_devices_and_on_those_that_appear_later() -> None:
    watched = site()
    board = Board(watched.fleet, [entry("a", node="n2"), entry("b", node="n3")])
    assert services(board, watched) == {"h0": "cordoned"}
    Watched(device("k0"), node="n3", fleet=watched.fleet, engine=watched.engine)
    Watched(device("h0"), device("h1"), node="n2", fleet=watched.fleet, engine=watched.engine, epoch="e2")
    assert services(board, watched) == {"h0": "cordoned", "h1": "cordoned", "k0": "cordoned"}


def test_a_device_that_moves_leaves_the_cordon_of_its_old_node_and_takes_its_own_along() -> None:
    watched = site()
    board = Board(watched.fleet, [entry("a", node="n1"), entry("b", Service.DRAINING, device="g1", node="n1")])
    assert services(board, watched)["g1"] == "draining"
    Watched(device("h0"), device("g1"), node="n2", fleet=watched.fleet, engine=watched.engine, epoch="e2")
    assert services(board, watched) == {
        "g0": "cordoned", "m0": "cordoned", "m1": "cordoned", "g1": "draining",
    }


def test_the_worst_word_counts_and_lifting_it_leaves_the_others() -> None:
    watched = site()
    board = Board(watched.fleet, [
        entry("a", device="g1"), entry("b", Service.MAINTENANCE, node="n1"), entry("c", Service.DRAINING, device="g1"),
    ])
    assert services(board, watched)["g1"] == "maintenance"
    board.lift("b")
    assert services(board, watched) == {"g1": "draining"}
    board.lift("c")
    assert services(board, watched) == {"g1": "cordoned"}


def test_partitions_are_out_with_their_parent_and_a_parent_is_not_with_its_partition() -> None:
    watched = site()
    assert services(Board(watched.fleet, [entry("a", device="g0")]), watched) == dict.fromkeys(
        ("g0", "m0", "m1"), "cordoned"
    )
    assert services(Board(watched.fleet, [entry("a", device="m0")]), watched) == {"m0": "cordoned"}


def test_what_is_over_is_forgotten_and_what_is_to_come_waits() -> None:
    watched = site()
    coming = entry("b", device="h0", from_s=1050.0, until_s=1090.0, start=AT.wall + 50, end=AT.wall + 90)
    board = Board(watched.fleet, [entry("a", device="g1", until_s=1010.0), coming])
    assert services(board, watched) == {"g1": "cordoned"}
    for seconds, names, found in ((10, ["b"], {}), (50, ["b"], {"h0": "cordoned"}), (90, [], {})):
        at = Clocks(AT.now + seconds, AT.wall + seconds)
        board.clear_over(at)
        assert [one.cordon_id for one in board.entries] == names
        assert services(board, watched, at) == found


def test_a_window_to_come_reaches_its_devices_already() -> None:
    watched = site()
    coming = entry("b", device="h0", from_s=1050.0, until_s=1090.0, start=AT.wall + 50, end=AT.wall + 90)
    reached = Board(watched.fleet, [coming]).reach()
    assert [watched.fleet.identities[row].uuid for row in reached.nonzero()[0]] == ["h0"]


def test_a_retired_device_that_is_declared_again_is_still_cordoned() -> None:
    watched = site()
    board = Board(watched.fleet, [entry("a", device="h0")])
    assert services(board, watched) == {"h0": "cordoned"}
    row = watched.fleet.find("h0")
    assert row is not None
    watched.fleet.retire(row)
    watched.fleet.declare("h0", "n2", "s1", "nvidia", "H100", "")
    again = watched.fleet.find("h0")
    assert again is not None
    assert SERVICES[board.service(AT)[again]] == "cordoned"


def test_everything_that_a_device_is_under_is_found() -> None:
    watched = site()
    board = Board(watched.fleet, [
        entry("a", device="g0"), entry("b", node="n1"), entry("c", device="g1"), entry("d", node="n2"),
    ])
    row = watched.fleet.find("m0")
    assert row is not None
    assert [one.cordon_id for one in board.on_device(row)] == ["a", "b"]
