"""What simulated devices say, as a function of device and time."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fallow_sim.chances import draws, stream
from fallow_sim.jobs import Floats, Now, Numbers, Schedule
from fallow_sim.profiles import Profile

GAUGES = (
    "utilization_ratio", "compute_active_ratio", "memory_bandwidth_active_ratio", "memory_usage_bytes",
    "memory_limit_bytes", "processes", "processes_exempt", "power_watts", "temperature_celsius",
    "memory_temperature_celsius", "clock_hertz", "memory_clock_hertz", "recovery_action",
)
COUNTERS = (
    "energy_joules_total", "throttle_power_seconds_total", "throttle_thermal_seconds_total", "pcie_replays_total",
    "io_receive_bytes_total", "io_transmit_bytes_total", "link_receive_bytes_total", "link_transmit_bytes_total",
    "processes_cpu_seconds_total",
)

LOADING_S = 10.0  # memory fills, nothing computes yet
PAUSE_EVERY_S, PAUSE_S = 180.0, 4.0  # checkpoints and evaluation: 0 % between two batches

_UTILIZATION = ((0.0, 0.02, 0.05, 0.10, 0.16, 0.26, 0.70, 1.0), (0.20, 0.60, 0.91, 0.97, 0.98, 0.99, 1.0, 1.0))
_TEMPERATURE = ((0.0, 0.1, 0.2, 0.55, 1.0), (30.0, 36.0, 45.0, 52.0, 63.0))
_MEMORY_TEMPERATURE = ((0.0, 0.1, 0.2, 0.55, 1.0), (45.0, 51.5, 55.0, 59.0, 66.0))
_LOADING_POWER, _PAUSED_POWER = 0.05, 0.085
_IDLE_MEMORY = 5e-5  # of the limit: the driver shows 4 MiB of 80 GiB without any process
_IDLE_HERTZ, _TOP_HERTZ, _MEMORY_HERTZ = 210e6, 1410e6, 1593e6
_STEP_HERTZ = 15e6  # an A100's clock moves in steps


class Readings(NamedTuple):
    """gauges float32[n, len(GAUGES)], counters float64[n, len(COUNTERS)], in base units."""

    gauges: NDArray[np.float32]
    counters: NDArray[np.float64]


class Load:
    """All devices of the given nodes, `devices` a node, numbered from 0 in the order given."""

    def __init__(self, profile: Profile, nodes: list[int], devices: int, seed: int, since: float) -> None:
        """since: unix seconds, where counters start at 0."""
        self._profile = profile
        self._since = since
        self._noise = stream(seed, "noise")
        node = np.repeat(np.array(nodes, dtype=np.int64), devices)
        place = np.tile(np.arange(devices, dtype=np.int64), len(nodes))
        self._device = node * devices + place
        size = np.minimum(2 ** (draws(stream(seed, "gangs"), node, 0)[:, 0] * 4).astype(np.int64), devices)
        gangs, self._gang = np.unique(node * devices + place // size * size, return_inverse=True)
        self._schedule = Schedule(gangs, seed, since)
        body = draws(stream(seed, "devices"), self._device, 0)
        self._floor_watts = profile.idle_watts * (0.955 + 0.10 * body[:, 0])
        self._range_watts = (profile.limit_watts - profile.idle_watts) * (0.97 + 0.06 * body[:, 1])
        self._warmth = 6.0 * body[:, 2] - 3.0

    def at(self, devices: Numbers, time: Floats) -> Readings:
        """What each of the devices says at its time (unix seconds, as many, not before `since`)."""
        now = self._schedule.at(self._gang[devices], time)
        noise = draws(self._noise, self._device[devices], np.floor(time * 1000).astype(np.int64))
        return Readings(self._gauges(devices, now, noise), self._counters(devices, time, now))

    def free(self, device: int, start: float, end: float) -> list[tuple[float, float]]:
        """When a device truly has no job, within start..end (unix seconds)."""
        return self._schedule.free(int(self._gang[device]), start, end)

    def _gauges(self, devices: Numbers, now: Now, noise: Floats) -> NDArray[np.float32]:
        jobs, elapsed, limit = now.jobs, now.elapsed_s, self._profile.memory_bytes
        busy = elapsed >= 0
        loading = busy & ~jobs.held & (elapsed < LOADING_S)
        paused = busy & ~jobs.held & ~loading & (elapsed % PAUSE_EVERY_S > PAUSE_EVERY_S - PAUSE_S)
        working = busy & ~jobs.held & ~loading & ~paused
        power = np.select([loading, paused, busy], [_LOADING_POWER, _PAUSED_POWER, jobs.power], 0.0)
        dynamic = power * self._range_watts[devices]
        compute = np.where(working, np.clip(jobs.compute + 0.04 * (noise[:, 1] - 0.5), 0.01, 1.0), 0.0)
        memory = np.where(busy, jobs.memory * np.where(loading, elapsed / LOADING_S, 1.0), 0.0)
        throttled = np.maximum(power - 0.9, 0.0)
        warmth = self._warmth[devices] + 2 * (noise[:, 3] - 0.5)
        return _columns(len(devices), (
            np.where(working, np.floor(100 * np.interp(noise[:, 2], *_UTILIZATION)) / 100, 0.0),
            compute,
            np.floor(60 * compute) / 100,
            limit * np.maximum(memory, _IDLE_MEMORY),
            limit,
            busy,
            0.0,
            self._floor_watts[devices] + dynamic + (noise[:, 0] - 0.5) * (0.8 + 0.04 * dynamic),
            np.rint(np.interp(power, *_TEMPERATURE) + warmth),
            np.rint(np.interp(power, *_MEMORY_TEMPERATURE) + warmth),
            np.where(busy & ~jobs.held, _TOP_HERTZ - _STEP_HERTZ * np.rint(66 * throttled), _IDLE_HERTZ),
            _MEMORY_HERTZ,
            0.0,
        )).astype(np.float32)

    def _counters(self, devices: Numbers, time: Floats, now: Now) -> NDArray[np.float64]:
        worked = now.worked_s
        joules = self._floor_watts[devices] * (time - self._since) + self._range_watts[devices] * now.drawn_s
        energy = np.floor(joules * 1e3) / 1e3  # drivers count millijoules
        io_receive, io_transmit, link = np.floor(2e8 * worked), np.floor(1.5e8 * worked), np.floor(2e10 * worked)
        return _columns(len(devices), (
            energy, 0.01 * worked, 0.0, 0.0, io_receive, io_transmit, link, link, _cpu_seconds(now),
        ))


def _cpu_seconds(now: Now) -> Floats:
    """Of the job's one process: it keeps a core busy, in pauses as well, and one that only holds memory has done so
    while it loaded.
    """
    busy_s = np.maximum(now.elapsed_s, 0.0)
    used = np.where(now.jobs.held, np.minimum(busy_s, LOADING_S), busy_s)
    hundredths: Floats = np.floor(100 * used)  # as the kernel counts
    return hundredths / 100


def _columns(rows: int, values: tuple[ArrayLike, ...]) -> Floats:
    table = np.empty((rows, len(values)))
    for column, value in enumerate(values):
        table[:, column] = value
    return table
