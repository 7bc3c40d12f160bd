"""What a device draws when nothing runs on it, learned from its own clean readings.

A floor must be learned per device, never be a constant or a fixed share of a power limit (floors of 10 to 24 % of the
limit have been measured); it is the 5th percentile of about a day of clean readings, and it is accepted only inside the
model's idle range, so that a leak or a stuck clock is never taken for the floor.
"""

import numpy as np
from numpy.typing import NDArray

from fallow_collector.idle.settings import Thresholds
from fallow_collector.idle.state import FloorSource, Reading

BINS = 64
"""Bins between 0 W and the top of the idle range; one more takes all that is above. 1.6 W on a 400 W board."""

QUANTILE = 0.05
_DAY_S = 86_400.0


def empty(rows: int) -> NDArray[np.float32]:
    return np.zeros((rows, BINS + 1), dtype=np.float32)


def learn(
    settings: Thresholds,
    state: NDArray[np.void],
    histograms: NDArray[np.float32],
    rows: NDArray[np.int32],
    reading: Reading,
) -> None:
    """Count the learnable readings and fit the floors that are due; state and histograms change in place.

    state: state.STATE[m]; histograms: float32[fleet, BINS + 1]; rows: int32[m], each once, the rows of histograms.
    """
    power, limit = reading["power_watts"], reading["power_limit_watts"]
    _forget_other_limits(state, histograms, rows, limit)
    top = idle_power_max_watts(settings, reading)
    use = np.flatnonzero(state["learnable"] & np.isfinite(power) & np.isfinite(top))
    if not len(use):
        return
    bins = np.clip(power[use] / top[use] * BINS, 0, BINS).astype(np.intp)
    histograms[rows[use], bins] += 1
    state["clean_s"][use] += reading.interval_s[use]
    due = use[_is_due(settings, state[use])]
    if len(due):
        floors = fit(histograms[rows[due]], top[due])
        state["floor_watts"][due] = floors
        state["floor_source"][due] = np.where(np.isfinite(floors), FloorSource.LEARNED, FloorSource.REFUSED)
        state["fitted_s"][due] = state["clean_s"][due]
        histograms[rows[due]] *= 1 - settings.floor_clean_s / _DAY_S  # forget over a day


def idle_power_max_watts(settings: Thresholds, reading: Reading) -> NDArray[np.float64]:
    """Upper end of each device's idle range: the catalogue's, else a share of its power limit; NaN: not known."""
    of_model = reading.idle_power_max_watts
    return np.where(np.isnan(of_model), settings.idle_power_max_ratio * reading["power_limit_watts"], of_model)


def quiet_watts(
    source: NDArray[np.uint8], floor_watts: NDArray[np.float64], factor: float | NDArray[np.float64],
    most: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The most that each device draws while quiet: `factor` of its floor, else `most`, the end of its idle range."""
    learned = np.isin(source, (FloorSource.LEARNED, FloorSource.ACCEPTED))
    return np.where(learned, factor * floor_watts, most)


def fit(histograms: NDArray[np.float32], top: NDArray[np.float64]) -> NDArray[np.float64]:
    """Floors in watts, from counts over 0..top watts; NaN where the floor lies above.

    histograms: float32[k, BINS + 1]; top: float64[k].
    """
    counted = np.cumsum(histograms, axis=1)
    position = np.argmax(counted >= QUANTILE * counted[:, -1:], axis=1)
    floors: NDArray[np.float64] = np.where(position < BINS, (position + 0.5) / BINS * top, np.nan)
    return floors


def _forget_other_limits(
    state: NDArray[np.void], histograms: NDArray[np.float32], rows: NDArray[np.int32], limit: NDArray[np.float64]
) -> None:
    other = np.isfinite(limit) & np.isfinite(state["limit_watts"]) & (limit != state["limit_watts"])
    if other.any():
        histograms[rows[other]] = 0
        state["clean_s"][other] = 0
        state["fitted_s"][other] = 0
        state["floor_source"][other] = FloorSource.NONE
        state["floor_watts"][other] = np.nan
    state["limit_watts"] = np.where(np.isfinite(limit), limit, state["limit_watts"])


def _is_due(settings: Thresholds, state: NDArray[np.void]) -> NDArray[np.bool_]:
    due: NDArray[np.bool_] = (state["clean_s"] - state["fitted_s"] >= settings.floor_clean_s) & (
        state["floor_source"] != FloorSource.ACCEPTED
    )
    return due
