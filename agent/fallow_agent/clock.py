"""Time of reports: the wall clock at the epoch's start plus CLOCK_BOOTTIME since.

So readings of one epoch are as far apart as they were, whatever is done to the wall clock meanwhile, suspended hours
included. A wall clock that stays off for a minute was set on purpose, and begins a new epoch; a shorter excursion is a
clock being corrected.
"""

from dataclasses import dataclass, replace

STEP_S = 2.0
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of one epoch. All times in seconds: wall since 1970, boot since the machine started."""

    wall: float  # both at the epoch's start
    boot: float
    off_since: float | None = None  # boot time since when the wall clock has been off

    def time_ms(self, boot: float) -> int:
        """Unix milliseconds of a moment."""
        return round((self.wall + boot - self.boot) * 1_000)

    def off_s(self, wall: float, boot: float) -> float:
        """How far the wall clock has run away from this one."""
        return wall - (self.wall + boot - self.boot)

    def compared(self, wall: float, boot: float) -> "Clock":
        """This clock, knowing since when the wall clock has been off."""
        if abs(self.off_s(wall, boot)) <= STEP_S:
            return self if self.off_since is None else replace(self, off_since=None)
        return self if self.off_since is not None else replace(self, off_since=boot)

    def is_outdated(self, boot: float) -> bool:
        """Whether the wall clock has been off for so long that a new epoch must begin."""
        return self.off_since is not None and boot - self.off_since >= PATIENCE_S
