"""A host's CPUs: divisible, so what counts is how much of them is free; processes are no witness there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fallow_collector.idle.reasons import where
from fallow_collector.idle.settings import Thresholds
from fallow_collector.idle.state import BIT, NEVER, Reading

REQUIRED = (
    BIT["cpu_cores"] | BIT["cpu_busy_cores"] | BIT["cpu_pressure_ratio"] | BIT["memory_usage_bytes"]
    | BIT["memory_limit_bytes"] | BIT["memory_available_bytes"] | BIT["job_processes"]
)


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    quiet: NDArray[np.bool_]
    clean: NDArray[np.bool_]
    reasons: NDArray[np.uint64]


def work(settings: Thresholds, state: NDArray[np.void], reading: Reading) -> Work:
    """A whole host is idle when its CPUs and memory are as free as they ever were and no job system runs on it.

    Learns the least memory in use while nothing else ran, and keeps the window's peak of busy CPUs.
    """
    cores, busy = reading["cpu_cores"], reading["cpu_busy_cores"]
    memory, limit = reading["memory_usage_bytes"], reading["memory_limit_bytes"]
    few = busy <= np.maximum(settings.host_busy_cores, settings.host_busy_ratio * cores)
    waiting = reading["cpu_pressure_ratio"] > settings.host_pressure_ratio
    quiet = few & ~waiting
    jobs = reading["job_processes"] > 0
    learn = reading.host & quiet & ~jobs & np.isfinite(memory) & ~(state["base_bytes"] <= memory)
    state["base_bytes"][learn] = memory[learn]
    state["base_source"][learn & (state["base_source"] == 0)] = 1
    base = state["base_bytes"]
    more = memory > base + settings.host_memory_ratio * limit
    _remember_peaks(settings, state, reading)
    return Work(
        quiet=quiet,
        clean=np.isfinite(base) & ~more & ~jobs,
        reasons=(
            where(~quiet, "host_busy")
            | where(jobs, "job_processes")
            | where(more, "memory_held")
        ),
    )


def _remember_peaks(settings: Thresholds, state: NDArray[np.void], reading: Reading) -> None:
    """The most busy and least free of two buckets of confirm_s: what new work can count on, never too much.

    A missing or broken reading leaves NaN, which stays until its bucket has gone.
    """
    due = (
        (state["bucket_ms"] == NEVER)
        | (reading.time_ms - state["bucket_ms"] >= settings.confirm_s * 1000)
        | ~reading.contiguous
    )
    for name, new in (("busy_peak", reading["cpu_busy_cores"]), ("free_least", reading["memory_available_bytes"])):
        buckets = state[name]
        buckets[due, 1] = np.where(reading.contiguous[due], buckets[due, 0], np.nan)
        worse = np.maximum if name == "busy_peak" else np.minimum
        buckets[:, 0] = np.where(due, new, worse(buckets[:, 0], new))
    state["bucket_ms"] = np.where(due, reading.time_ms, state["bucket_ms"])


def idle_cores(cores: NDArray[np.float64], state: NDArray[np.void]) -> NDArray[np.float64]:
    """CPUs free over the whole window; NaN until one bucket is full."""
    free: NDArray[np.float64] = np.maximum(cores - state["busy_peak"].max(axis=1), 0.0)
    return free


def available_memory_bytes(state: NDArray[np.void]) -> NDArray[np.float64]:
    least: NDArray[np.float64] = state["free_least"].min(axis=1)
    return least
