"""What the rules make of each device, as the judgement takes it."""

from enum import IntEnum


class Verdict(IntEnum):
    NONE = 0
    DEGRADED = 1
    FAILED = 2
    HELD = 3  # failed by rules that are doubted, because they would fail so many devices at once
