"""The load model: what devices say, whether it fits together, and whether a fleet of it looks like a real one."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fallow_proto.metrics import BY_NAME, Kind
from fallow_sim.load import COUNTERS, GAUGES, LOADING_S, Load
from fallow_sim.profiles import PROFILES

START = 1_790_000_000.0
PROFILE = PROFILES["nvidia"]


def load(nodes: int = 50, seed: int = 1) -> Load:
    return Load(PROFILE, list(range(nodes)), 8, seed, START)


def gauges(load: Load, times: NDArray[np.float64], devices: int = 400) -> dict[str, NDArray[np.float32]]:
    """Metric -> [times, devices]."""
    every = np.arange(devices)
    said = [load.at(every, np.full(devices, time)).gauges for time in times]
    return {name: np.array([at[:, column] for at in said]) for column, name in enumerate(GAUGES)}


def test_the_same_seed_says_the_same_and_another_seed_something_else() -> None:
    every, time = np.arange(400), np.full(400, START + 100.0)
    one, same, other = load().at(every, time), load().at(every, time), load(seed=2).at(every, time)
    assert np.array_equal(one.gauges, same.gauges)
    assert np.array_equal(one.counters, same.counters)
    assert not np.array_equal(one.gauges, other.gauges)


def test_what_a_device_said_does_not_depend_on_who_is_asked_with_it_nor_when() -> None:
    times = START + np.arange(30.0)
    one = load()
    one.at(np.arange(400), np.full(400, START + 7200.0))
    together = np.array([load().at(np.arange(400), np.full(400, time)).counters[17] for time in times])
    assert np.array_equal(one.at(np.full(30, 17), times).counters, together)


def test_every_metric_is_of_the_table_and_within_its_bounds() -> None:
    assert {BY_NAME[name].kind for name in GAUGES} == {Kind.GAUGE}
    assert {BY_NAME[name].kind for name in COUNTERS} == {Kind.COUNTER}
    for name, values in gauges(load(), START + 60 * np.arange(120)).items():
        assert values.min() >= BY_NAME[name].low
        assert values.max() <= BY_NAME[name].high


def test_a_free_device_shows_nothing_and_a_taken_one_shows_that_it_is_held() -> None:
    fleet, times = load(), START + 7.0 * np.arange(600)
    said = gauges(fleet, times)
    free = np.zeros(said["processes"].shape, dtype=bool)
    for device in range(400):
        for begin, end in fleet.free(device, START, START + 4200):
            free[(times >= begin) & (times < end), device] = True
    assert 0.1 < free.mean() < 0.5
    assert said["utilization_ratio"][free].max() == 0
    assert said["processes"][free].max() == 0
    assert said["memory_usage_bytes"][free].max() < 16 * 2**20
    assert said["power_watts"][free].max() < 1.1 * PROFILE.idle_watts
    assert said["processes"][~free].min() == 1


def test_some_that_are_taken_pause_at_zero_and_some_only_hold_memory() -> None:
    said = gauges(load(), START + 2.0 * np.arange(600))
    still = (said["utilization_ratio"] == 0) & (said["processes"] == 1)
    worked = (said["utilization_ratio"] > 0.9).any(axis=0)
    assert (still & worked).any()
    assert (still.all(axis=0) & (said["memory_usage_bytes"] > 2**30).all(axis=0)).any()


def test_energy_is_the_integral_of_power() -> None:
    fleet, times, every = load(), START + np.arange(0.0, 3600.0, 2.0), np.arange(400)
    power = np.array([fleet.at(every, np.full(400, time)).gauges[:, GAUGES.index("power_watts")] for time in times])
    energy = [fleet.at(every, np.full(400, time)).counters[:, 0] for time in (START, START + 3600.0)]
    assert np.allclose(energy[0], 0.0)
    # Pauses and loading draw less than their job; energy knows the job only.
    assert np.allclose(energy[1] - energy[0], power.sum(axis=0) * 2.0, rtol=0.06)


def test_counters_never_fall() -> None:
    fleet, every = load(), np.arange(400)
    said = [fleet.at(every, np.full(400, START + 30.0 * step)).counters[:, :-1] for step in range(240)]
    assert (np.diff(np.array(said), axis=0) >= 0).all()


def test_a_job_moves_bytes_while_it_works_and_one_that_only_holds_memory_moves_none() -> None:
    """Else a lease of it would never be seen to stand still."""
    fleet, every = load(), np.arange(400)
    said = [fleet.at(every, np.full(400, START + 600.0 + 10.0 * step)) for step in range(6)]
    moved = np.array([
        [one.counters[:, COUNTERS.index(f"{wire}_{way}_bytes_total")] for one in said]
        for wire in ("io", "link") for way in ("receive", "transmit")
    ])
    used = np.array([one.gauges[:, GAUGES.index("utilization_ratio")] for one in said])
    held = np.array([one.gauges[:, GAUGES.index("processes")] for one in said]).all(axis=0) & ~used.any(axis=0)
    assert held.sum() > 5
    assert (np.diff(moved, axis=1)[:, :, held] == 0).all()
    assert (np.diff(moved, axis=1)[:, :, used.all(axis=0)] > 0).all()


def test_a_job_uses_its_host_while_it_lasts_and_one_that_only_holds_memory_only_while_it_loads() -> None:
    fleet, every = load(), np.arange(400)
    before, after = (fleet.at(every, np.full(400, START + 600.0 + second)) for second in (0.0, 20.0))
    taken = [said.gauges[:, GAUGES.index("processes")] == 1 for said in (before, after)]
    used_s = [said.counters[:, COUNTERS.index("processes_cpu_seconds_total")] for said in (before, after)]
    assert (used_s[0][~taken[0]] == 0).all()
    grown_s = (used_s[1] - used_s[0])[taken[0] & taken[1] & (used_s[0] > 30.0)]
    assert np.allclose(grown_s, 20.0, atol=0.02)
    assert len(grown_s) > 50
    still = taken[0] & taken[1] & (used_s[0] == used_s[1])
    assert (used_s[0][still] == LOADING_S).all()
    assert still.sum() > 5


@pytest.mark.parametrize(
    ("metric", "column", "factor", "distance"),
    [
        ("utilization_ratio", "gpu_util_pct", 100.0, 0.06),
        ("power_watts", "power_w", 1.0, 0.08),
        ("compute_active_ratio", "sm_active_pct", 100.0, 0.08),
        ("memory_usage_bytes", "fb_used_pct", 100.0 / PROFILE.memory_bytes, 0.08),
        ("temperature_celsius", "gpu_temp_c", 1.0, 0.10),
        ("memory_temperature_celsius", "mem_temp_c", 1.0, 0.10),
    ],
)
def test_a_fleet_looks_like_seren(
    shared_data: Path, metric: str, column: str, factor: float, distance: float
) -> None:
    """Kolmogorov–Smirnov distance between the simulated fleet and the quantiles of a real cluster.

    Both are rounded to 0.1: the real cluster's driver showed no memory at all on empty cards, ours 4 MiB.
    """
    with gzip.open(shared_data / "acme_seren_gpu_quantiles.csv.gz", "rt", encoding="utf-8") as file:
        real = np.sort([round(float(row[column]), 1) for row in csv.DictReader(file) if row[column]])
    fleet = load(nodes=1000)
    said = [fleet.at(np.arange(8000), np.full(8000, START + 701.0 * step)).gauges for step in range(8)]
    simulated = np.sort(np.round(np.concatenate(said)[:, GAUGES.index(metric)].astype(np.float64) * factor, 1))
    grid = np.unique(np.concatenate([real, simulated]))
    apart = np.abs(
        np.searchsorted(real, grid, side="right") / len(real)
        - np.searchsorted(simulated, grid, side="right") / len(simulated)
    )
    assert apart.max() <= distance
