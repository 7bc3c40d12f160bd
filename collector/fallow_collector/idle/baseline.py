"""What a device draws when nothing runs on it, learned from its own clean readings.

A floor must be learned per device, never be a constant or a fixed share of a power limit (floors of 10 to 24 % of the
limit have been measured); it is the 5th percentile of about a day of clean readings, and it is accepted only inside the
model's idle range, so that a leak or a stuck clock is never taken for the floor.
"""

import numpy as np
from numpy.typing import NDArray

from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import FloorSource, Reading

BINS = 64
"""Bins between 0 W and the top of the idle range; one more takes all that is above. 1.6 W on a 400 W board."""

QUANTILE = 0.05
_DAY_S = 86_400.0


def empty(rows: int) -> NDArray[np.float32]:
    return np.zeros((rows, BINS + 1), dtype=np.float32)


def learn(
    settings: IdleSettings, state: NDArray[np.void], histogram: NDArray[np.float32], reading: Reading
) -> None:
    """Count the learnable readings and fit the floors that are due; state and histogram change in place.

    state: state.STATE[m]; histogram: float32[m, BINS + 1].
    """
    power, limit = reading["power_watts"], reading["power_limit_watts"]
    _forget_other_limits(state, histogram, limit)
    use = np.flatnonzero(state["learnable"] & np.isfinite(power) & np.isfinite(limit))
    if not len(use):
        return
    top = settings.idle_power_max_ratio * limit[use]
    bins = np.clip(power[use] / top * BINS, 0, BINS).astype(np.intp)
    histogram[use, bins] += 1
    state["clean_s"][use] += reading.interval_s[use]
    fit(settings, state, histogram, use[_is_due(settings, state[use])], limit)


def _forget_other_limits(
    state: NDArray[np.void], histogram: NDArray[np.float32], limit: NDArray[np.float64]
) -> None:
    other = np.isfinite(limit) & np.isfinite(state["limit_watts"]) & (limit != state["limit_watts"])
    if other.any():
        histogram[other] = 0
        state["clean_s"][other] = 0
        state["fitted_s"][other] = 0
        state["floor_source"][other] = FloorSource.NONE
        state["floor_watts"][other] = np.nan
    state["limit_watts"] = np.where(np.isfinite(limit), limit, state["limit_watts"])


def _is_due(settings: IdleSettings, state: NDArray[np.void]) -> NDArray[np.bool_]:
    due: NDArray[np.bool_] = (state["clean_s"] - state["fitted_s"] >= settings.floor_clean_s) & (
        state["floor_source"] != FloorSource.ACCEPTED
    )
    return due


def fit(
    settings: IdleSettings,
    state: NDArray[np.void],
    histogram: NDArray[np.float32],
    rows: NDArray[np.intp],
    limit: NDArray[np.float64],
) -> None:
    """Set floors from histograms, and let the histograms forget over a day."""
    if not len(rows):
        return
    counted = np.cumsum(histogram[rows], axis=1)
    position = np.argmax(counted >= QUANTILE * counted[:, -1:], axis=1)
    inside = position < BINS
    top = settings.idle_power_max_ratio * limit[rows]
    state["floor_watts"][rows] = np.where(inside, (position + 0.5) / BINS * top, np.nan)
    state["floor_source"][rows] = np.where(inside, FloorSource.LEARNED, FloorSource.REFUSED)
    state["fitted_s"][rows] = state["clean_s"][rows]
    histogram[rows] *= 1 - settings.floor_clean_s / _DAY_S
