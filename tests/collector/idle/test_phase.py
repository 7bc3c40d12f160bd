"""The table of phases is total, and its precedence is the one that is promised."""

from itertools import product

from fallow_collector.idle import phase
from fallow_proto.states import Allocation, Freshness, Health, Occupancy, Phase, Service


def look(allocation: Allocation, freshness: Freshness, health: Health, service: Service, occupancy: int) -> Phase:
    return phase.PHASES[phase.LOOKUP[
        phase.ALLOCATIONS.index(allocation), phase.FRESHNESSES.index(freshness), phase.HEALTHS.index(health),
        phase.SERVICES.index(service), occupancy,
    ]]


EVERY = list(product(Allocation, Freshness, Health, Service, range(len(phase.OCCUPANCIES))))


def test_only_one_combination_of_the_axes_is_idle() -> None:
    idle = [axes for axes in EVERY if look(*axes) is Phase.IDLE]
    assert idle == [
        (Allocation.FREE, Freshness.LIVE, health, Service.IN_SERVICE, phase.CONFIRMED)
        for health in (Health.OK, Health.DEGRADED)
    ]


def test_a_commitment_outlives_silence_and_faults() -> None:
    for allocation, *rest in EVERY:
        if allocation not in (Allocation.FREE, Allocation.UNKNOWN):
            assert look(allocation, *rest) == allocation.value  # type: ignore[arg-type]


def test_nothing_is_said_of_a_silent_device_but_that_it_is_unknown() -> None:
    for axes in EVERY:
        if axes[0] is Allocation.FREE and axes[1] in (Freshness.STALE, Freshness.LOST):
            assert look(*axes) is Phase.UNKNOWN


def test_a_device_whose_scheduler_is_silent_is_never_called_idle_or_leased() -> None:
    found = {look(*axes) for axes in EVERY if axes[0] is Allocation.UNKNOWN}
    assert found == {Phase.ABSENT, Phase.UNKNOWN}


def test_every_phase_can_be_reached() -> None:
    assert {look(*axes) for axes in EVERY} == set(Phase)


def test_internal_occupancies_have_a_public_word() -> None:
    assert set(phase.OCCUPANCIES) == set(Occupancy)
