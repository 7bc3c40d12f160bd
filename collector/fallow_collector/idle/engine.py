"""The judgement of a fleet: the state of every device, moved by readings, and read at any moment."""

from collections.abc import Iterator
from math import isnan, nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.idle import baseline, phase
from fallow_collector.idle.assess import LOST_INTERVALS, Assessment, Presence, assess
from fallow_collector.idle.judge import step
from fallow_collector.idle.reasons import BIT as REASON
from fallow_collector.idle.reasons import NONE
from fallow_collector.idle.settings import IdleSettings, Thresholds, overrides
from fallow_collector.idle.state import BIT, FRESH, NEVER, RECORD, STATE, BaseSource, FloorSource, Reading
from fallow_proto.catalogue import find
from fallow_proto.states import NEVER_READ, Health


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
    histogram: bytes  # float32[BINS + 2], the last: watts that the bins reach up to


class Engine:
    """state: state.STATE[capacity]; rows are the fleet's."""

    def __init__(self, settings: IdleSettings) -> None:
        self.settings = settings
        self.state = np.zeros(0, dtype=STATE)
        self._histogram = baseline.empty(0)
        self._unsupported = np.zeros(0, dtype=np.uint64)
        self._conditions = np.zeros(0, dtype=np.uint64)
        self._host = np.zeros(0, dtype=np.bool_)
        of_models = settings.by_model()
        self._thresholds: list[Thresholds] = [settings, *of_models.values()]
        self._model_number = {model: number for number, model in enumerate(of_models, start=1)}
        self._overridden = [frozenset[str](), *(frozenset(overrides(entry)) for entry in settings.models)]
        self._number = np.zeros(0, dtype=np.int16)  # position in _thresholds
        self._idle_power = np.zeros(0, dtype=np.float64)
        self._base_memory = np.zeros(0, dtype=np.float64)

    def grow(self, capacity: int) -> None:
        more = capacity - len(self.state)
        self.state = np.concatenate([self.state, np.repeat(FRESH, more)])
        self._histogram = np.concatenate([self._histogram, baseline.empty(more)])
        self._unsupported = np.concatenate([self._unsupported, np.zeros(more, dtype=np.uint64)])
        self._conditions = np.concatenate([self._conditions, np.zeros(more, dtype=np.uint64)])
        self._host = np.concatenate([self._host, np.zeros(more, dtype=np.bool_)])
        self._number = np.concatenate([self._number, np.zeros(more, dtype=np.int16)])
        self._idle_power = np.concatenate([self._idle_power, np.full(more, nan)])
        self._base_memory = np.concatenate([self._base_memory, np.full(more, nan)])

    def identify(
        self, row: int, unsupported: frozenset[str], conditions: tuple[str, ...], host: bool, vendor: str, model: str,
        partition: bool,
    ) -> None:
        self._unsupported[row] = np.bitwise_or.reduce([NONE, *(BIT[name] for name in unsupported if name in BIT)])
        # A condition of a newer agent that we do not know is a reason not to offer the device all the same.
        self._conditions[row] = np.bitwise_or.reduce(
            [NONE, *(REASON.get(name, REASON["compute_prohibited"]) for name in conditions)]
        )
        if conditions:
            self._judge_unusable(row, never_read=not NEVER_READ.isdisjoint(conditions))
        self._host[row] = host
        self._number[row] = self._model_number.get(model, 0)
        # A partition draws and holds a part of what the catalogue says of the whole.
        chip = None if host or partition else find(vendor, model)
        own = self.overridden(row)
        self._idle_power[row] = nan if chip is None or "idle_power_max_ratio" in own else chip.idle_power_max_watts
        self._base_memory[row] = nan if chip is None or "base_memory_max_ratio" in own else chip.base_memory_max_bytes

    def _judge_unusable(self, row: int, never_read: bool) -> None:
        """At once, and not when the next reading comes; where none will, its conditions are all there is to say."""
        if never_read:
            self.state["health"][row] = phase.HEALTHS.index(Health.UNKNOWN)
            self.state["reasons"][row] = NONE
        self.state["occupancy"][row] = phase.UNKNOWN
        self.state["reasons"][row] |= self._conditions[row]
        self.restart(np.array([row]))

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
        for thresholds, some in self._alike(rows):
            these = rows[some]
            reading = Reading(
                values[some], reasons[some], time_ms[some], interval_s[some], contiguous[some],
                self._unsupported[these], self._conditions[these], self._host[these],
                self._idle_power[these], self._base_memory[these],
            )
            records = self.state.view(RECORD)
            after = step(thresholds, records[these].view(STATE), reading)
            baseline.learn(thresholds, after, self._histogram, these, reading)
            records[these] = after.view(RECORD)

    def _alike(self, rows: NDArray[np.int32]) -> Iterator[tuple[Thresholds, "slice | NDArray[np.intp]"]]:
        """The rows that are judged by the same thresholds: all at once, unless a model has its own."""
        if len(self._thresholds) == 1:
            yield self.settings, slice(None)
            return
        numbers = self._number[rows]
        for number in np.unique(numbers).tolist():
            yield self._thresholds[number], np.flatnonzero(numbers == number)

    def thresholds(self, row: int) -> Thresholds:
        return self._thresholds[int(self._number[row])]

    def lost_s(self, interval_s: float) -> float:
        """After so long a silence a node that reads at this interval is lost, whatever its models have of their own."""
        return max(self.settings.lost_s, LOST_INTERVALS * interval_s)

    def overridden(self, row: int) -> frozenset[str]:
        """The thresholds that are set for the row's model alone."""
        return self._overridden[int(self._number[row])]

    def in_force(self, name: str, rows: "slice | NDArray[np.integer]") -> float | NDArray[np.float64]:
        """A threshold by its name: float64[rows], or one number when it is the same for all."""
        if len(self._thresholds) == 1:
            return float(getattr(self.settings, name))
        table = np.array([getattr(thresholds, name) for thresholds in self._thresholds], dtype=np.float64)
        of_rows: NDArray[np.float64] = table[self._number[rows]]
        return of_rows

    def idle_range(self, row: int) -> tuple[float, float]:
        """The most watts and bytes of the row's model when idle, of the catalogue; NaN where it does not say."""
        return float(self._idle_power[row]), float(self._base_memory[row])

    def idle_power_max_watts(self, row: int, power_limit_watts: float) -> float:
        """Upper end of the idle range, which serves as floor until one is learned; NaN: not known."""
        of_model = float(self._idle_power[row])
        return self.thresholds(row).idle_power_max_ratio * power_limit_watts if isnan(of_model) else of_model

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

    def quiet_watts(
        self, rows: NDArray[np.integer], power_limit_watts: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The most that each device draws while quiet; NaN: not known."""
        of_model = self._idle_power[rows]
        by_limit = self.in_force("idle_power_max_ratio", rows) * power_limit_watts
        most = np.where(np.isnan(of_model), by_limit, of_model)
        return baseline.quiet_watts(
            self.state["floor_source"][rows], self.state["floor_watts"][rows],
            self.in_force("power_quiet_factor", rows), most,
        )

    def assess(self, count: int, presence: Presence) -> Assessment:
        every = slice(count)
        return assess(self.in_force("stale_s", every), self.in_force("lost_s", every), self.state[every], presence)

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
            float(s["clean_s"]), float(s["fitted_s"]),
            np.append(self._histogram[row], self._top_watts(row)).tobytes(),
        )

    def recall(self, row: int, learned: Learned) -> None:
        for name in Learned._fields[2:-1]:
            self.state[name][row] = getattr(learned, name)
        histogram = np.frombuffer(learned.histogram, dtype=np.float32)
        top = self._top_watts(row)
        if len(histogram) == baseline.BINS + 2 and (histogram[-1] == top or np.isnan([histogram[-1], top]).all()):
            self._histogram[row] = histogram[:-1]
        else:  # the idle range is another since: its bins mean other watts, and its floor may lie outside
            self.state["clean_s"][row] = self.state["fitted_s"][row] = 0
            if learned.floor_source != FloorSource.ACCEPTED:
                self.state["floor_source"][row] = FloorSource.NONE
                self.state["floor_watts"][row] = nan

    def _top_watts(self, row: int) -> np.float32:
        """What the bins of the row's histogram reach up to."""
        return np.float32(self.idle_power_max_watts(row, float(self.state["limit_watts"][row])))
