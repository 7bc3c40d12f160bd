"""Which nodes of a simulated fleet report when."""

from collections.abc import Callable, Iterator

from fallow_sim.beat import Beat
from fallow_sim.cohort import Cohort
from fallow_sim.identity import Plan
from fallow_sim.profiles import Profile

SLOTS = 50  # moments in an interval over which the nodes spread


def cohorts(
    profiles: list[Profile], devices: int, *, site: str, seed: int, interval_s: float, start: float
) -> list[Cohort]:
    """A fleet, one profile a node, as groups of one profile and one slot; start: unix seconds."""
    groups: dict[tuple[int, str], list[int]] = {}
    for number, profile in enumerate(profiles):
        groups.setdefault((number % SLOTS, profile.vendor), []).append(number)
    return [
        Cohort(
            Plan(profiles[numbers[0]], devices, site, seed, interval_s), numbers, start + slot * interval_s / SLOTS
        )
        for (slot, _), numbers in sorted(groups.items())
    ]


def of_fleet(fleet: list[Cohort], start: float) -> Iterator[Beat]:
    """Every cohort's ticks, for ever, in order; the fleet's cohorts are sorted by their first moment."""
    seq = 0
    while True:
        seq += 1
        for cohort in fleet:
            yield Beat(cohort.time_of(seq) - start, _advance(cohort, seq), cohort.nodes)


def _advance(cohort: Cohort, seq: int) -> Callable[[], None]:
    return lambda: cohort.advance(seq)
