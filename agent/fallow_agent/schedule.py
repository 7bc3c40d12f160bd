"""When to sample and when to report: multiples of one period from one start, so that nothing drifts."""

from math import ceil, floor

from fallow_proto.metrics import Group

LONGEST_SAMPLE_S = 1.0
"""However seldom reports are, work that lasts a second must be seen."""
EVERY_S = {Group.FAST: 0.0, Group.MEDIUM: 10.0, Group.SLOW: 60.0}

_ROUNDING = 1e-6  # of a tick: start + n × period, divided again, may fall just below n


class Schedule:
    """Ticks are numbered from 0 at `start`; all times are seconds on the clock of `start`."""

    def __init__(self, interval_s: float, start: float) -> None:
        """interval_s: between reports, 0.1 to 10."""
        self.ticks_per_report = max(1, ceil(interval_s / LONGEST_SAMPLE_S - _ROUNDING))
        self.period_s = interval_s / self.ticks_per_report
        self._start = start
        self._ticks = {group: max(1, round(every / self.period_s)) for group, every in EVERY_S.items()}

    def tick_at(self, now: float) -> int:
        """Number of the last tick that is not in the future; below 0 before the start."""
        return floor((now - self._start) / self.period_s + _ROUNDING)

    def time_of(self, tick: int) -> float:
        return self._start + tick * self.period_s

    def report_of(self, tick: int) -> int:
        """Number of the report that a tick belongs to."""
        return tick // self.ticks_per_report

    def turn_of(self, group: Group, tick: int) -> int:
        """Which of a group's turns a tick falls into: it is to be read once in each."""
        return tick // self._ticks[group]

    def sampled_every_s(self, group: Group) -> float:
        return self.period_s * self._ticks[group]

    def reported_every_s(self, group: Group) -> float:
        """A group cannot be in more reports than there are."""
        return max(self.sampled_every_s(group), self.period_s * self.ticks_per_report)
