"""The judgement of a fleet: the state of every device, moved by readings, and read at any moment."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.idle import baseline, phase
from fallow_collector.idle.assess import Assessment, Presence, assess
from fallow_collector.idle.judge import step
from fallow_collector.idle.reasons import BIT as REASON
from fallow_collector.idle.reasons import NONE
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import BIT, FRESH, NEVER, STATE, BaseSource, FloorSource, Reading


class Learned(NamedTuple):
    """A device's baseline as it is kept over restarts. `key` names what it was learned under: driver and modes."""

    uuid: str
    key: str
    floor_watts: float
    floor_source: int
    limit_watts: float
    base_bytes: float
    base_source: int
    ever_read: int
    clean_s: float
    fitted_s: float
    histogram: bytes  # float32[BINS + 1]


class Engine:
    """state: state.STATE[capacity]; rows are the fleet's."""

    def __init__(self, settings: IdleSettings) -> None:
        self.settings = settings
        self.state = np.zeros(0, dtype=STATE)
        self._histogram = baseline.empty(0)
        self._unsupported = np.zeros(0, dtype=np.uint64)
        self._conditions = np.zeros(0, dtype=np.uint64)
        self._host = np.zeros(0, dtype=np.bool_)

    def grow(self, capacity: int) -> None:
        more = capacity - len(self.state)
        self.state = np.concatenate([self.state, np.repeat(FRESH, more)])
        self._histogram = np.concatenate([self._histogram, baseline.empty(more)])
        self._unsupported = np.concatenate([self._unsupported, np.zeros(more, dtype=np.uint64)])
        self._conditions = np.concatenate([self._conditions, np.zeros(more, dtype=np.uint64)])
        self._host = np.concatenate([self._host, np.zeros(more, dtype=np.bool_)])

    def identify(self, row: int, unsupported: frozenset[str], conditions: tuple[str, ...], host: bool) -> None:
        self._unsupported[row] = np.bitwise_or.reduce([NONE, *(BIT[name] for name in unsupported if name in BIT)])
        # A condition of a newer agent that we do not know is a reason not to offer the device all the same.
        self._conditions[row] = np.bitwise_or.reduce(
            [NONE, *(REASON.get(name, REASON["compute_prohibited"]) for name in conditions)]
        )
        self._host[row] = host

    def forget(self, row: int) -> None:
        """Judge a row from nothing: a new device, driver or mode."""
        self.state[row] = FRESH[0]
        self._histogram[row] = 0

    def observe(
        self,
        rows: NDArray[np.int32],
        values: NDArray[np.float64],
        reasons: NDArray[np.uint8],
        time_ms: NDArray[np.int64],
        interval_s: NDArray[np.float64],
        contiguous: NDArray[np.bool_],
    ) -> None:
        """One reading of each of these rows; see state.Reading."""
        reading = Reading(
            values, reasons, time_ms, interval_s, contiguous,
            self._unsupported[rows], self._conditions[rows], self._host[rows],
        )
        after = step(self.settings, self.state[rows], reading)
        baseline.learn(self.settings, after, self._histogram, rows, reading)
        self.state[rows] = after

    def restart(self, rows: NDArray[np.integer], short: bool = False) -> None:
        """Their windows start with the next reading: what was seen before does not count any more.

        short: the holder has released them, and confirm_after_release_s is enough once they are seen clean.
        """
        state = self.state
        state["run_start_ms"][rows] = NEVER
        state["run_readings"][rows] = 0
        state["still_since_ms"][rows] = NEVER
        state["short"][rows] = short
        confirmed = rows[state["occupancy"][rows] == phase.CONFIRMED]
        state["occupancy"][confirmed] = phase.QUIET
        state["reasons"][confirmed] |= REASON["window"]

    def clean(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each was quiet and clean at its newest reading since its window was started."""
        started: NDArray[np.bool_] = self.state["run_start_ms"][rows] != NEVER
        return started

    def still_s(self, rows: NDArray[np.integer], last_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """For how long neither the device nor its holder has done anything, up to its newest reading."""
        since = self.state["still_since_ms"][rows]
        return np.where(since == NEVER, 0.0, (last_ms - since) / 1000)

    def assess(self, count: int, presence: Presence) -> Assessment:
        return assess(self.settings, self.state[:count], presence)

    def accept(self, row: int, power_watts: float, memory_bytes: float) -> None:
        """Take what the device draws and holds now for what it draws and holds when idle; NaN: nothing to take."""
        if np.isfinite(power_watts):
            self.state["floor_watts"][row] = power_watts
            self.state["floor_source"][row] = FloorSource.ACCEPTED
        if np.isfinite(memory_bytes):
            self.state["base_bytes"][row] = memory_bytes
            self.state["base_source"][row] = BaseSource.ACCEPTED

    def learned(self, row: int, uuid: str, key: str) -> Learned:
        s = self.state[row]
        return Learned(
            uuid, key, float(s["floor_watts"]), int(s["floor_source"]), float(s["limit_watts"]),
            float(s["base_bytes"]), int(s["base_source"]), int(s["ever_read"]),
            float(s["clean_s"]), float(s["fitted_s"]), self._histogram[row].tobytes(),
        )

    def recall(self, row: int, learned: Learned) -> None:
        for name in Learned._fields[2:-1]:
            self.state[name][row] = getattr(learned, name)
        histogram = np.frombuffer(learned.histogram, dtype=np.float32)
        if histogram.shape == (baseline.BINS + 1,):
            self._histogram[row] = histogram
