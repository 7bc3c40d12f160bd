"""When gangs of devices have jobs, and what the jobs are like: a function of gang and time.

A gang lives in periods of 5 to 60 minutes: first it is free, then a job has it until the period ends. What the job is
like is drawn once a period. Shares and curves are fitted by eye to the marginals of an A100 cluster (AcmeTrace, Seren:
a quarter of its cards empty, 5 % and more that hold memory and do nothing, one in seven between 90 and 100 W); how
they go together is ours.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_sim.chances import draws, stream

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

SHORTEST_PERIOD_S, LONGEST_PERIOD_S = 300.0, 3600.0
NEVER_USED = 0.06  # share of the periods without any job
LEAST_FREE, MOST_FREE = 0.01, 0.36  # share of any other period before its job starts
HELD, LIGHT = 0.09, 0.40  # of the jobs: up to here they only hold memory, up to here compute a little; the rest train

# Curves over a quantile from 0 to 1. Power is the share of what lies between idle and the limit.
_HELD_POWER = ((0.0, 1.0), (0.01, 0.035))
_LIGHT_POWER = ((0.0, 0.15, 0.3, 0.5, 0.8, 1.0), (0.045, 0.055, 0.083, 0.092, 0.104, 0.125))
_TRAIN_POWER = (
    (0.0, 0.10, 0.18, 0.27, 0.36, 0.46, 0.55, 0.64, 0.73, 0.90, 1.0),
    (0.125, 0.16, 0.20, 0.33, 0.55, 0.71, 0.81, 0.90, 0.97, 1.03, 1.06),
)
_LIGHT_COMPUTE = ((0.0, 0.1, 0.4, 1.0), (0.02, 0.30, 0.43, 0.55))
_TRAIN_COMPUTE = ((0.0, 0.3, 0.6, 1.0), (0.54, 0.68, 0.77, 0.89))
_HELD_MEMORY = ((0.0, 1.0), (0.02, 0.26))
_MEMORY = ((0.0, 0.08, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), (0.22, 0.30, 0.40, 0.50, 0.58, 0.68, 0.79, 0.93, 0.99))


class Jobs(NamedTuple):
    """One period of each of n gangs; all float64[n] but `held`, bool[n]."""

    start_s: Floats  # after the period's beginning; the period's length when there is no job
    held: NDArray[np.bool_]  # holds memory and does nothing
    power: Floats
    memory: Floats
    compute: Floats


class Now(NamedTuple):
    """How gangs are at a moment."""

    jobs: Jobs
    elapsed_s: Floats  # since the job started; negative while free
    drawn_s: Floats  # power share times seconds of all jobs since the schedule began
    worked_s: Floats  # the same of the jobs that do not only hold memory


class Schedule:
    """gangs: int64[g], numbers that are unique in the fleet. since: unix seconds, where drawn_s and worked_s are 0."""

    def __init__(self, gangs: Numbers, seed: int, since: float) -> None:
        self._gangs = gangs
        self._source = stream(seed, "jobs")
        own = draws(stream(seed, "periods"), gangs, 0)
        self._period_s = SHORTEST_PERIOD_S * (LONGEST_PERIOD_S / SHORTEST_PERIOD_S) ** own[:, 0]
        self._offset_s = self._period_s * own[:, 1]
        self._first, into = self._period(np.arange(len(gangs)), np.full(len(gangs), since))
        self._done = np.zeros((len(gangs), 1, 2))  # drawn and worked before each period
        jobs = self._draw(np.arange(len(gangs)), self._first)
        self._skipped = _done(jobs, into - jobs.start_s)  # of the first period, before `since`

    def at(self, gang: Numbers, time: Floats) -> Now:
        """gang: positions in `gangs`; time: unix seconds of each, not before `since` of the schedule."""
        period, into = self._period(gang, time)
        jobs = self._draw(gang, period)
        elapsed = into - jobs.start_s
        column = period - self._first[gang]
        self._reach(int(column.max(initial=0)))
        done = self._done[gang, column] + _done(jobs, elapsed) - self._skipped[gang]
        return Now(jobs, elapsed, drawn_s=done[:, 0], worked_s=done[:, 1])

    def free(self, gang: int, start: float, end: float) -> list[tuple[float, float]]:
        """When a gang has no job, within start..end, in order; neighbouring stretches are one."""
        first, last = self._period(np.array([gang, gang]), np.array([start, end]))[0]
        period = np.arange(first, last + 1)
        begins = period * self._period_s[gang] - self._offset_s[gang]
        ends = begins + self._draw(np.full(len(period), gang), period).start_s
        stretches: list[tuple[float, float]] = []
        for begin, finish in zip(np.maximum(begins, start).tolist(), np.minimum(ends, end).tolist(), strict=True):
            if stretches and begin - stretches[-1][1] < 1e-6:
                stretches[-1] = (stretches[-1][0], finish)
            elif finish > begin:
                stretches.append((begin, finish))
        return stretches

    def _period(self, gang: Numbers, time: Floats) -> tuple[Numbers, Floats]:
        """The number of the period and the seconds into it."""
        shifted = time + self._offset_s[gang]
        period = np.floor(shifted / self._period_s[gang])
        return period.astype(np.int64), shifted - period * self._period_s[gang]

    def _draw(self, gang: Numbers, period: Numbers) -> Jobs:
        chance = draws(self._source, self._gangs[gang], period)
        used = (chance[:, 0] - NEVER_USED) / (1 - NEVER_USED)
        held = chance[:, 1] < HELD
        light = ~held & (chance[:, 1] < LIGHT)
        quantile = chance[:, 2]
        return Jobs(
            start_s=np.where(used < 0, 1.0, LEAST_FREE + (MOST_FREE - LEAST_FREE) * used) * self._period_s[gang],
            held=held,
            power=np.select(
                [held, light],
                [np.interp(quantile, *_HELD_POWER), np.interp(quantile, *_LIGHT_POWER)],
                np.interp(quantile, *_TRAIN_POWER),
            ),
            memory=np.where(held, np.interp(chance[:, 3], *_HELD_MEMORY), np.interp(chance[:, 3], *_MEMORY)),
            compute=np.where(light, np.interp(quantile, *_LIGHT_COMPUTE), np.interp(quantile, *_TRAIN_COMPUTE)),
        )

    def _reach(self, column: int) -> None:
        """Know what was drawn and worked before each period up to this one."""
        everyone = np.arange(len(self._gangs))
        while self._done.shape[1] <= column:
            jobs = self._draw(everyone, self._first + self._done.shape[1] - 1)
            whole = _done(jobs, self._period_s - jobs.start_s)
            self._done = np.concatenate([self._done, self._done[:, -1:] + whole[:, None]], axis=1)


def _done(jobs: Jobs, elapsed_s: Floats) -> Floats:
    """[n, 2], drawn_s and worked_s of Now, of these jobs alone; elapsed_s: negative before they start."""
    drawn = jobs.power * np.maximum(elapsed_s, 0.0)
    return np.column_stack([drawn, np.where(jobs.held, 0.0, drawn)])
