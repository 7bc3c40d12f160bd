"""A device and its partitions under leases: whoever holds the one holds of the other what there is."""

import time

import numpy as np
import pytest

from fallow_collector.idle import phase
from fallow_collector.view import View
from fallow_proto.states import Allocation
from tests.collector.watching import HOST, IDLE, Watched, device

WHOLE, PART, OTHER = range(3)
LEASED = phase.ALLOCATIONS.index(Allocation.LEASED)


@pytest.fixture
def watched() -> Watched:
    found = Watched(device("whole"), device("part", parent="whole", partition_profile="1g.10gb"), device("other"))
    found.stays(62, IDLE, IDLE, IDLE)
    return found


def phases(watched: Watched) -> list[str]:
    view = View(watched.fleet, watched.engine, lambda: watched.now, time.time)
    return [str(phase.PHASES[code]) for code in view.now().assessment.phase]


def test_without_a_lease_they_are_judged_each_by_itself(watched: Watched) -> None:
    assert phases(watched) == ["idle", "idle", "idle"]


def test_a_partition_of_a_leased_device_is_leased_with_it(watched: Watched) -> None:
    watched.fleet.allocation[WHOLE] = LEASED
    assert phases(watched) == ["leased", "leased", "idle"]


def test_a_device_whose_leased_partition_is_there_is_counted_as_its_partitions_alone(watched: Watched) -> None:
    watched.fleet.allocation[PART] = LEASED
    view = View(watched.fleet, watched.engine, lambda: watched.now, time.time)
    assert np.flatnonzero(view.now().counted).tolist() == [PART, OTHER]
    assert phases(watched)[PART] == "leased"


def test_a_device_whose_leased_partition_is_gone_is_still_its_holder_s(watched: Watched) -> None:
    watched.fleet.allocation[PART] = LEASED
    watched.fleet.present[PART] = False
    assert phases(watched) == ["leased", "leased", "idle"]


def test_a_host_is_free_of_a_device_that_was_given_up_whatever_its_scheduler_said_of_it_last() -> None:
    watched = Watched(device("g0"), device("h0", device_class="general"))
    watched.stays(62, IDLE, HOST)
    watched.fleet.imported[0] = LEASED
    assert phases(watched) == ["leased", "cordoned"]
    watched.devices = (device("h0", device_class="general"),)
    watched.hello()
    watched.stays(1, HOST)
    assert phases(watched)[1] == "cordoned"
    watched.fleet.retire(0)
    assert phases(watched)[1] == "idle"
