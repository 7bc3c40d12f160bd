"""Two nodes name one device: whose it is, and what the other can do to it, which is nothing."""

import numpy as np
import pytest

from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.roster import Claim
from fallow_collector.health.contests import AGAIN_S, Contests
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import WITNESSES
from fallow_proto.metrics import COLUMN
from tests.collector.watching import BUSY, IDLE, Watched, device

CLAIM = Claim("n2", "g0", "n1")


def beside(first: Watched, *devices: str) -> Watched:
    """Another node, of the same fleet, that names these."""
    return Watched(
        *map(device, devices), node="n2", fleet=first.fleet, engine=first.engine, now=first.now
    )


def both(first: Watched, second: Watched, seconds: int) -> None:
    """The first is idle, and the second says that its own are busy."""
    for _ in range(seconds):
        first.stays(1, *[IDLE] * len(first.devices))
        second.stays(1, *[BUSY] * len(second.devices))


@pytest.fixture
def owner() -> Watched:
    watched = Watched(device("g0"))
    watched.stays(62, IDLE)
    assert watched.phase() == "idle"
    return watched


def test_a_device_stays_with_the_node_that_has_it_and_the_other_is_told_of(owner: Watched) -> None:
    thief = beside(owner, "g0", "g9")
    assert list(owner.fleet.claims()) == [CLAIM]
    both(owner, thief, 70)
    assert owner.phase() == "idle"
    assert owner.fleet.values[0, COLUMN["utilization_ratio"]] == 0.0
    assert [owner.fleet.has(*whose) for whose in (("n1", "g0"), ("n2", "g0"), ("n2", "g9"))] == [True, False, True]
    assert owner.fleet.count == 2, "it is counted once"
    thief.hello()
    assert list(owner.fleet.claims()) == [CLAIM], "to say it again is no argument"


def test_a_busy_device_is_not_idle_because_another_node_says_so(owner: Watched) -> None:
    thief = beside(owner, "g0")
    for _ in range(70):
        owner.stays(1, BUSY)
        thief.stays(1, IDLE)
    assert owner.phase() == "unmanaged"


def test_a_device_that_its_node_no_longer_names_goes_to_the_node_that_does_and_verifies_anew(owner: Watched) -> None:
    second = beside(owner, "g0")
    owner.devices = (device("g1"),)
    owner.hello()
    second.stays(1, IDLE)
    assert owner.fleet.has("n2", "g0")
    assert list(owner.fleet.claims()) == []
    assert second.phase() == "verifying"
    second.stays(61, IDLE)
    assert second.phase() == "idle"


def test_a_device_whose_node_is_lost_goes_to_the_node_that_names_it(owner: Watched) -> None:
    owner.fleet.gone("n1", owner.now)
    second = beside(owner, "g0")
    assert list(owner.fleet.claims()) == [], "nobody contests it who is not there"
    second.stays(30, IDLE)
    assert owner.fleet.has("n1", "g0")
    second.stays(2, IDLE)
    assert owner.fleet.has("n2", "g0")
    second.stays(62, IDLE)
    assert second.phase() == "idle"
    owner.now = second.now
    owner.hello()
    assert list(owner.fleet.claims()) == [Claim("n1", "g0", "n2")], "it has lost it"


def test_a_node_that_was_silent_and_lost_a_device_says_so_without_another_hello(owner: Watched) -> None:
    second = beside(owner, "g0")
    second.stays(32, IDLE)
    owner.now = second.now
    owner.stays(2, BUSY)
    second.stays(1, IDLE)
    assert list(owner.fleet.claims()) == [Claim("n1", "g0", "n2")]
    assert owner.fleet.values[0, COLUMN["utilization_ratio"]] == 0.0


def test_a_claim_ends_with_the_stream_of_the_node_that_made_it(owner: Watched) -> None:
    beside(owner, "g0")
    owner.fleet.gone("n2", owner.now)
    assert list(owner.fleet.claims()) == []
    owner.devices = ()
    owner.hello()
    assert owner.phase() == "absent"


def test_after_a_restart_of_the_collector_nobody_is_quicker_than_the_node_that_had_the_device(owner: Watched) -> None:
    engine = Engine(IdleSettings())
    fleet = Fleet(engine, WITNESSES)
    fleet.restore([owner.fleet.seen(0)], owner.now)
    thief = Watched(device("g0"), node="n2", fleet=fleet, engine=engine, now=owner.now + 1)
    thief.stays(20, IDLE)
    back = Watched(device("g0"), fleet=fleet, engine=engine, now=thief.now)
    both(back, thief, 62)
    assert fleet.has("n1", "g0")
    assert back.phase() == "idle"


def test_another_node_s_device_is_not_cut_into_partitions(owner: Watched) -> None:
    thief = Watched(
        device("part", parent="g0"), node="n2", fleet=owner.fleet, engine=owner.engine, now=owner.now
    )
    assert owner.fleet.parent[:2].tolist() == [-1, -1]
    owner.stays(1, IDLE)
    assert (owner.phase(0), thief.phase(1)) == ("idle", "unknown")


def test_a_partition_that_is_handed_over_finds_its_parent(owner: Watched) -> None:
    second = Watched(
        device("g0"), device("part", parent="g0"), node="n2", fleet=owner.fleet, engine=owner.engine, now=owner.now
    )
    owner.devices = ()
    owner.hello()
    second.stays(1, IDLE, IDLE)
    assert owner.fleet.parent[:2].tolist() == [-1, 0]
    assert np.isfinite(owner.fleet.seen_at[:2]).all()


def test_after_a_restart_a_partition_that_is_gone_has_its_parent_as_before() -> None:
    before = Watched(device("g0"), device("part", parent="g0"))
    before.devices = before.devices[:1]
    before.hello()
    fleet = Fleet(Engine(IdleSettings()), WITNESSES)
    fleet.restore([before.fleet.seen(row) for row in range(2)], before.now)
    assert fleet.parent[:2].tolist() == before.fleet.parent[:2].tolist() == [-1, 0]


def test_a_contest_is_said_once_and_again_while_it_lasts() -> None:
    contests = Contests()
    [(node, message)] = contests.step([CLAIM, CLAIM._replace(uuid="g1")], 0.0)
    assert node == "n2"
    assert message.startswith("names devices that other nodes have and report, which keep them: g0 of n1, g1 of n1;")
    assert contests.step([CLAIM], AGAIN_S - 1) == []
    assert len(contests.step([CLAIM], AGAIN_S)) == 1
    assert contests.step([], 3 * AGAIN_S) == []


def test_a_message_of_a_cloned_machine_names_three_devices() -> None:
    [(_, message)] = Contests().step([CLAIM._replace(uuid=f"g{number}") for number in range(8)], 0.0)
    assert "g2 of n1 and 5 more;" in message
