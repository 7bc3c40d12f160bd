"""What can go wrong between a program and a collector.

FallowError
├── Unreachable     nothing answered; asking again later makes sense
├── Refused         the collector said no, and why
│   └── NoCapacity  nothing idle serves the request now: an answer, not a failure
├── Malformed       something answered that is no collector, or one of another version
└── LeaseLost       the devices of a lease may be somebody else's by now
"""

import msgspec

from fallow_proto.api import Problem
from fallow_proto.dispatch import Fault


class FallowError(Exception):
    """Any failure of a call to the collector; the message says what to do."""


class Unreachable(FallowError):
    """No answer came: wrong address, collector down, network cut, or time out."""


class Refused(FallowError):
    """The collector answered with a problem (RFC 9457).

    `code` is a Fault where the API names one ("" elsewhere, and a newer collector may know others); `uuids` are the
    devices that it is about.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.detail} ({problem.status} {problem.title})")
        self.status = problem.status
        self.problem = problem
        self.code = "" if problem.code is msgspec.UNSET else problem.code
        self.uuids = [] if problem.uuids is msgspec.UNSET else problem.uuids


class NoCapacity(Refused):
    """Nothing that is idle now serves the request; the message says why and what would."""


class Malformed(FallowError):
    """The answer does not have the shape that the API promises."""


class LeaseLost(FallowError):
    """The lease has ended, or may have: whatever runs on its devices must stop."""


def refusal(problem: Problem) -> Refused:
    return NoCapacity(problem) if problem.code == Fault.NO_CAPACITY else Refused(problem)
