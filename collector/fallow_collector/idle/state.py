"""What is remembered of each device between two readings, and what a reading brings: arrays, a row a device.

Times are the agent's milliseconds within one epoch (`*_ms`; NEVER: not so now). Watts, joules, bytes, seconds.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

NEVER = np.int64(-1)

MOVERS = {
    "io_receive_bytes_total": 2.0**20,
    "io_transmit_bytes_total": 2.0**20,
    "link_receive_bytes_total": 2.0**20,
    "link_transmit_bytes_total": 2.0**20,
    "processes_cpu_seconds_total": 0.01,
}
"""Counters that tell a pause from the end of work, and how much a second each may move while nothing is done: reading a
device costs some bytes on its bus, and a waiting process some CPU time."""


class Side(IntEnum):
    """Hysteresis: a grey reading keeps the side that the device was on."""

    UNDECIDED = 0
    QUIET = 1
    ACTIVE = 2


class FloorSource(IntEnum):
    NONE = 0
    PRIOR = 1  # the model's idle range, until the device's own floor is learned
    LEARNED = 2
    ACCEPTED = 3
    REFUSED = 4  # learned, and beyond the model's idle range


class BaseSource(IntEnum):
    NONE = 0
    LEARNED = 1
    ACCEPTED = 2


STATE = np.dtype([
    # what it was judged to be at its newest reading
    ("occupancy", "u1"),
    ("health", "u1"),
    ("low", "?"),
    ("learnable", "?"),  # clean and still, so that its power and memory are those of an idle device
    ("reasons", "u8"),
    # clocks
    ("side", "u1"),
    ("run_start_ms", "i8"),  # of the unbroken quiet and clean run
    ("run_readings", "i4"),
    ("busy_since_ms", "i8"),  # of the unbroken run of readings that were not so
    ("left_idle", "?"),  # that run ended a confirmed idleness
    ("short", "?"),  # its holder released it: the shorter window is enough
    ("still_since_ms", "i8"),  # of the unbroken run in which neither it nor its holder did anything
    ("mover", "f8", (len(MOVERS),)),  # each of MOVERS when it last moved
    ("mover_ms", "i8", (len(MOVERS),)),
    ("conflict_since_ms", "i8"),
    ("grey_since_ms", "i8"),
    ("energy_moved_ms", "i8"),
    # the reading before
    ("energy_joules", "f8"),
    ("processes", "f8"),
    # what is learned
    ("ever_read", "u8"),  # one bit a witness
    ("floor_watts", "f8"),
    ("floor_source", "u1"),
    ("base_bytes", "f8"),
    ("base_source", "u1"),
    ("limit_watts", "f8"),  # the power limit under which the floor was learned
    ("clean_s", "f8"),  # learnable readings so far, as time
    ("fitted_s", "f8"),  # clean_s when the floor was last fitted
    # hosts: the most that was busy and the least that was free, in this bucket of confirm_s and the one before
    ("bucket_ms", "i8"),
    ("busy_peak", "f8", (2,)),
    ("free_least", "f8", (2,)),
])

RECORD = np.dtype((np.void, STATE.itemsize))
"""One device's state as bytes: numpy copies it at once, and STATE field by field, which takes ten times as long."""

FRESH = np.zeros(1, dtype=STATE)
for _name in STATE.names or ():
    if _name.endswith("_ms"):
        FRESH[_name] = NEVER
for _name in ("energy_joules", "processes", "mover", "floor_watts", "limit_watts", "base_bytes", "busy_peak",
              "free_least"):
    FRESH[_name] = np.nan

WITNESSES = (
    "utilization_ratio",
    "compute_active_ratio",
    "power_watts",
    "memory_usage_bytes",
    "processes",
    "energy_joules_total",
    "memory_limit_bytes",
    "processes_exempt",
    "power_limit_watts",
    "recovery_action",
    "cpu_cores",
    "cpu_busy_cores",
    "cpu_pressure_ratio",
    "memory_available_bytes",
    "job_processes",
    *MOVERS,
)
"""Metrics that a judgement looks at, in the order of Reading.values' columns."""

COLUMN = {name: number for number, name in enumerate(WITNESSES)}
BIT = {name: np.uint64(1 << number) for name, number in COLUMN.items()}

JUDGED_BY_MEMORY = BIT["utilization_ratio"] | BIT["compute_active_ratio"] | BIT["power_watts"] | BIT[
    "memory_usage_bytes"] | BIT["processes"] | BIT["energy_joules_total"] | BIT["recovery_action"]
"""Witnesses that are required once they were read under this driver."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One reading of each of m devices.

    values: float64[m, len(WITNESSES)], NaN where not known now; reasons: uint8[m], the wire's Reason; time_ms,
    interval_s; contiguous: bool[m], no reading is missing between this one and the device's last; unsupported:
    uint64[m], bits of WITNESSES; conditions: uint64[m], reasons.BIT of what the identity says; host: bool[m];
    idle_power_max_watts, base_memory_max_bytes: float64[m], the model's idle range in the catalogue, NaN where none is
    known or its thresholds were set by the operator.
    """

    values: NDArray[np.float64]
    reasons: NDArray[np.uint8]
    time_ms: NDArray[np.int64]
    interval_s: NDArray[np.float64]
    contiguous: NDArray[np.bool_]
    unsupported: NDArray[np.uint64]
    conditions: NDArray[np.uint64]
    host: NDArray[np.bool_]
    idle_power_max_watts: NDArray[np.float64]
    base_memory_max_bytes: NDArray[np.float64]

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.values[:, COLUMN[name]]

    def lacks(self, name: str) -> NDArray[np.bool_]:
        """Whether the vendor declares that the device has no such witness."""
        lacking: NDArray[np.bool_] = (self.unsupported & BIT[name]) != 0
        return lacking
