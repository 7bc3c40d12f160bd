"""What one more reading says of each device: pure, over arrays.

The definition is that of reference: a device is quiet when every activity witness says so, clean when every holding
witness says so, and confirmed when an unbroken run of readings has been both for the whole window. Leaving idle takes
one reading, becoming idle takes the window.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.idle import baseline, host, phase
from fallow_collector.idle.reasons import BIT as REASON
from fallow_collector.idle.reasons import NONE, where
from fallow_collector.idle.settings import Thresholds
from fallow_collector.idle.state import BIT, JUDGED_BY_MEMORY, MOVERS, NEVER, RECORD, STATE, FloorSource, Reading, Side
from fallow_proto.states import Health
from fallow_proto.v1 import telemetry_pb2 as pb

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

OK, DEGRADED, FAILED, UNKNOWN = map(
    phase.HEALTHS.index, (Health.OK, Health.DEGRADED, Health.FAILED, Health.UNKNOWN)
)

# What the driver or the reader said, as (reason, health).
BY_WIRE_REASON: dict[int, tuple[str, int]] = {
    pb.REASON_OK: ("", OK),
    pb.REASON_FAILED: ("read_failed", UNKNOWN),
    pb.REASON_NOT_PERMITTED: ("not_permitted", UNKNOWN),
    pb.REASON_TIMEOUT: ("read_timeout", UNKNOWN),
    pb.REASON_STUCK: ("reader_stuck", UNKNOWN),
    pb.REASON_LOST: ("device_lost", FAILED),
    pb.REASON_RESET_REQUIRED: ("reset_required", FAILED),
    pb.REASON_DRIVER: ("driver_unusable", UNKNOWN),
    pb.REASON_QUIESCED: ("quiesced", UNKNOWN),
}
_WIRE_REASON = np.array([REASON[name] if name else NONE for name, _ in BY_WIRE_REASON.values()], dtype=np.uint64)
_WIRE_HEALTH = np.array([health for _, health in BY_WIRE_REASON.values()], dtype=np.uint8)

MOVE_S = 30.0  # longer than two readings of the slowest of MOVERS are apart

DRAIN_P2P = 3.0  # nvmlDeviceGpuRecoveryAction_t: the device works, its links to others are not to be used


def step(settings: Thresholds, before: NDArray[np.void], reading: Reading) -> NDArray[np.void]:
    """State after a reading, from the state before it; both state.STATE[m]. The arguments are left as they were."""
    state = before.view(RECORD).copy().view(STATE)
    _forget_gaps(state, reading)
    unknown = _WIRE_REASON[reading.reasons] | reading.conditions
    health, asked = _health(reading)
    unknown |= asked

    activity = _Activity(settings, state, reading)
    holding = _holding(settings, state, reading, activity.still)
    work = host.work(settings, state, reading)
    quiet = np.where(reading.host, work.quiet, activity.quiet)
    clean = np.where(reading.host, work.clean, holding.clean)

    unknown |= _missing(state, reading, activity)
    unknown |= np.where(reading.host, NONE, holding.unknown)
    unknown |= _frozen(settings, state, reading)
    conflict, still = _conflict(settings, state, reading, activity, clean)
    unknown |= conflict
    quiet |= still & ~reading.host
    active = np.where(reading.host, ~quiet, activity.active(clean))
    _sides(state, quiet, active, known=unknown == NONE)
    unknown |= where((unknown == NONE) & ~reading.host & (state["side"] == Side.UNDECIDED), "undecided")

    _runs(settings, state, reading, known=unknown == NONE, clean=clean)
    _occupy(settings, state, reading, known=unknown == NONE, clean=clean)
    _stillness(state, reading, known=unknown == NONE)
    low, lowers = _confidence(reading, activity)
    state["low"] = low
    state["learnable"] = ~reading.host & clean & activity.still & (reading.reasons == pb.REASON_OK)
    state["health"] = health
    state["reasons"] = (
        unknown
        | lowers
        | np.where(reading.host, work.reasons, holding.reasons)
        | where(~reading.host & (state["side"] == Side.ACTIVE), "active")
        | where(state["occupancy"] == phase.QUIET, "window")
    )
    state["processes"] = reading["processes"]
    state["energy_joules"] = reading["energy_joules_total"]
    return state


def _forget_gaps(state: NDArray[np.void], reading: Reading) -> None:
    """Clocks that only unbroken evidence may drive start anew after a gap, and so does the side: a grey reading must
    not be called quiet because of what was seen before a reading that is missing."""
    broken = ~reading.contiguous
    state["side"][broken & (state["side"] == Side.QUIET)] = Side.UNDECIDED
    state["run_start_ms"][broken] = NEVER
    state["run_readings"][broken] = 0
    state["short"][broken] = False
    state["still_since_ms"][broken] = NEVER
    state["conflict_since_ms"][broken] = NEVER
    state["grey_since_ms"][broken] = NEVER
    state["energy_moved_ms"][broken] = reading.time_ms[broken]
    state["energy_joules"][broken] = np.nan
    state["processes"][broken] = np.nan


def _health(reading: Reading) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """The driver's own verdict: its return codes, then the recovery action that it asks for."""
    health = _WIRE_HEALTH[reading.reasons].copy()
    action = reading["recovery_action"]
    health[(action == DRAIN_P2P) & (health == OK)] = DEGRADED
    asks = (action > 0) & (action != DRAIN_P2P)  # an action that we do not know yet is one all the same
    health[asks] = FAILED
    return health, where(asks, "recovery_required")


class _Activity:
    """The activity witnesses of one reading: still (nothing but power was asked), quiet, started, and so on."""

    __slots__ = ("count", "floor", "power_active", "power_known", "quiet", "started", "still", "util_active")

    def __init__(self, settings: Thresholds, state: NDArray[np.void], reading: Reading) -> None:
        util, compute, power = reading["utilization_ratio"], reading["compute_active_ratio"], reading["power_watts"]
        prior = baseline.idle_power_max_watts(settings, reading)
        learned = np.isin(state["floor_source"], (FloorSource.LEARNED, FloorSource.ACCEPTED))
        state["floor_source"][~learned & (state["floor_source"] != FloorSource.REFUSED)] = FloorSource.NONE
        use_prior = (state["floor_source"] == FloorSource.NONE) & np.isfinite(prior)
        state["floor_source"][use_prior] = FloorSource.PRIOR
        self.floor: Floats = np.where(learned, state["floor_watts"], prior)
        self.power_known: Bools = np.isfinite(power) & np.isfinite(self.floor)
        # The prior is the upper end of the model's idle range already, a floor its lower end.
        limit = baseline.quiet_watts(
            state["floor_source"], state["floor_watts"], settings.power_quiet_factor, prior
        )
        power_quiet = ~self.power_known | (power <= limit)
        self.power_active: Bools = self.power_known & (power >= settings.power_active_factor * self.floor)
        util_quiet = np.isnan(util) | (util <= settings.utilization_off_ratio)
        compute_quiet = np.isnan(compute) | (compute <= settings.compute_off_ratio)
        self.util_active: Bools = (util >= settings.utilization_on_ratio) | (compute >= settings.compute_on_ratio)
        self.started: Bools = reading["processes"] > state["processes"]
        self.still: Bools = util_quiet & compute_quiet & ~self.started
        self.quiet: Bools = self.still & power_quiet
        self.count: NDArray[np.int64] = (
            np.isfinite(util).astype(np.int64) + np.isfinite(compute) + self.power_known
        )

    def active(self, clean: Bools) -> Bools:
        """Power alone is no work on a device that shows no work and holds nothing: that is grey, then a conflict."""
        return self.util_active | self.started | (self.power_active & ~(self.still & clean))


class _Holding(NamedTuple):
    """The holding witnesses of one reading."""

    clean: Bools
    unknown: NDArray[np.uint64]
    reasons: NDArray[np.uint64]


def _holding(settings: Thresholds, state: NDArray[np.void], reading: Reading, still: Bools) -> _Holding:
    memory, limit = reading["memory_usage_bytes"], reading["memory_limit_bytes"]
    processes = reading["processes"] - np.nan_to_num(reading["processes_exempt"], nan=0.0)
    listed = ~reading.lacks("processes")
    present = processes > 0
    # Without a list, stillness is the best sign that nobody holds it; a process that is told all the same counts.
    nobody = np.where(listed, processes <= 0, still & ~present)
    most = np.where(
        np.isnan(reading.base_memory_max_bytes), settings.base_memory_max_ratio * limit, reading.base_memory_max_bytes
    )
    in_range = memory <= most
    learn = nobody & in_range & ~(state["base_bytes"] <= memory) & ~reading.host
    state["base_bytes"][learn] = memory[learn]
    state["base_source"][learn & (state["base_source"] == 0)] = 1
    known_base = np.isfinite(state["base_bytes"])
    more = memory > state["base_bytes"] + settings.memory_tolerance_bytes
    clean = known_base & ~more & np.isfinite(memory) & np.where(listed, processes <= 0, ~present)
    refused_base = nobody & ~known_base & np.isfinite(memory)
    refused_floor = clean & (state["floor_source"] == FloorSource.REFUSED)
    return _Holding(
        clean,
        where(refused_base | refused_floor, "baseline_unaccepted"),
        where(present, "process_present") | where(more, "memory_held"),
    )


def _missing(state: NDArray[np.void], reading: Reading, activity: _Activity) -> NDArray[np.uint64]:
    """A witness that was ever read is required, memory always; only what the vendor lacks is exempt."""
    read = np.zeros(len(state), dtype=np.uint64)
    for name, bit in BIT.items():
        read |= np.where(np.isfinite(reading[name]), bit, NONE)
    answered = reading.reasons == pb.REASON_OK
    state["ever_read"] |= np.where(answered, read, NONE) & JUDGED_BY_MEMORY
    required = (
        state["ever_read"]
        | np.where(reading.host, host.REQUIRED, BIT["utilization_ratio"] | BIT["processes"])
    ) & ~reading.unsupported
    required |= np.where(reading.host, NONE, BIT["memory_usage_bytes"] | BIT["memory_limit_bytes"])
    missing = (required & ~read) != NONE
    # Power without a floor or a limit to hold it against speaks of nothing.
    missing |= ~reading.host & (activity.count == 0)
    return where(missing, "witness_missing")


def _frozen(settings: Thresholds, state: NDArray[np.void], reading: Reading) -> NDArray[np.uint64]:
    """Every device draws power, so a standing energy counter means that the readings are old ones (seen in
    dcgm-exporter#164).
    """
    energy = reading["energy_joules_total"]
    moved = energy != state["energy_joules"]  # NaN before: the first reading counts as movement
    state["energy_moved_ms"] = np.where(moved, reading.time_ms, state["energy_moved_ms"])
    still = np.isfinite(energy) & (reading.time_ms - state["energy_moved_ms"] >= settings.frozen_s * 1000)
    return where(still & ~reading.host, "frozen")


def _conflict(
    settings: Thresholds, state: NDArray[np.void], reading: Reading, activity: _Activity, clean: Bools
) -> tuple[NDArray[np.uint64], Bools]:
    """(reasons, quiet after all): power that contradicts the other witnesses, and power that is merely pinned."""
    contradicts = activity.still & clean & activity.power_active
    conflict = _lasting(state, "conflict_since_ms", contradicts, reading.time_ms, settings.conflict_s)
    band = activity.still & clean & ~activity.quiet & ~activity.power_active
    pinned = _lasting(state, "grey_since_ms", band, reading.time_ms, settings.power_grey_s)
    return where(conflict & ~reading.host, "conflict"), pinned


def _lasting(state: NDArray[np.void], clock: str, now: Bools, time_ms: NDArray[np.int64], limit_s: float) -> Bools:
    """Whether `now` has held for the limit without a break; keeps the clock."""
    since = np.where(now, np.where(state[clock] == NEVER, time_ms, state[clock]), NEVER)
    state[clock] = since
    held: Bools = now & (time_ms - since >= limit_s * 1000)
    return held


def _sides(state: NDArray[np.void], quiet: Bools, active: Bools, known: Bools) -> None:
    """A grey reading, and one that says too little, keep the side; seen activity counts whatever else is missing."""
    state["side"] = np.select([active, quiet & known], [np.uint8(Side.ACTIVE), np.uint8(Side.QUIET)], state["side"])


def _runs(settings: Thresholds, state: NDArray[np.void], reading: Reading, known: Bools, clean: Bools) -> None:
    was_confirmed = state["occupancy"] == phase.CONFIRMED
    good = known & clean & (state["side"] == Side.QUIET)
    # Until it is first seen clean its holder may still be leaving; what comes after that is somebody else's work.
    state["short"] &= good | (state["run_start_ms"] == NEVER)
    start = np.where(state["run_start_ms"] == NEVER, reading.time_ms, state["run_start_ms"])
    state["run_start_ms"] = np.where(good, start, NEVER)
    state["run_readings"] = np.where(good, state["run_readings"] + 1, 0)
    busy = known & ~good
    begins = busy & (state["busy_since_ms"] == NEVER)
    state["left_idle"] = busy & np.where(begins, was_confirmed, state["left_idle"])
    state["busy_since_ms"] = np.where(busy, np.where(begins, reading.time_ms, state["busy_since_ms"]), NEVER)


def _occupy(settings: Thresholds, state: NDArray[np.void], reading: Reading, known: Bools, clean: Bools) -> None:
    lasting = state["left_idle"] | (reading.time_ms - state["busy_since_ms"] >= settings.unmanaged_s * 1000)
    window_s = np.where(state["short"], settings.confirm_after_release_s, settings.confirm_s)
    confirmed = (reading.time_ms - state["run_start_ms"] >= window_s * 1000) & (
        state["run_readings"] >= settings.confirm_readings
    )
    active = state["side"] == Side.ACTIVE
    state["occupancy"] = np.select(
        [~known, active & lasting, active, ~clean & lasting, ~clean, confirmed],
        [phase.UNKNOWN, phase.ACTIVE, phase.BRIEFLY_ACTIVE, phase.RESIDENT, phase.BRIEFLY_RESIDENT, phase.CONFIRMED],
        phase.QUIET,
    )


def _stillness(state: NDArray[np.void], reading: Reading, known: Bools) -> None:
    """Keeps how long neither the device nor its holder has done anything: a checkpoint is written at utilization 0.

    A movement counts as one of the last MOVE_S at most, so that a burst after a long rest is not averaged away.
    """
    values = np.stack([reading[name] for name in MOVERS], axis=1)
    moved = np.isfinite(values) & (values != state["mover"])
    seconds = np.clip((reading.time_ms[:, None] - state["mover_ms"]) / 1000, 1.0, MOVE_S)
    allowed = np.array(list(MOVERS.values())) * seconds
    at_rest = ~moved | ((values > state["mover"]) & (values - state["mover"] <= allowed))
    known = known & np.isfinite(reading["processes_cpu_seconds_total"])
    still = known & at_rest.all(axis=1) & (state["side"] == Side.QUIET)
    since = np.where(state["still_since_ms"] == NEVER, reading.time_ms, state["still_since_ms"])
    state["still_since_ms"] = np.where(still, since, NEVER)
    state["mover"] = np.where(moved, values, state["mover"])
    state["mover_ms"] = np.where(moved, reading.time_ms[:, None], state["mover_ms"])


def _confidence(reading: Reading, activity: _Activity) -> tuple[Bools, NDArray[np.uint64]]:
    no_list = ~reading.host & reading.lacks("processes")
    single = ~reading.host & (activity.count == 1)
    return no_list | single, (
        where(no_list, "processes_unsupported")
        | where(single, "single_activity_witness")
    )
