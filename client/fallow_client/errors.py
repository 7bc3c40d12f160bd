"""What can go wrong between a program and a collector.

FallowError
├── Unreachable   nothing answered; asking again later makes sense
├── Refused       the collector said no, and why
└── Malformed     something answered that is no collector, or one of another version
"""

from fallow_proto.api import Problem


class FallowError(Exception):
    """Any failure of a call to the collector; the message says what to do."""


class Unreachable(FallowError):
    """No answer came: wrong address, collector down, network cut, or time out."""


class Refused(FallowError):
    """The collector answered with a problem (RFC 9457)."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.detail} ({problem.status} {problem.title})")
        self.status = problem.status
        self.problem = problem


class Malformed(FallowError):
    """The answer does not have the shape that the API promises."""
