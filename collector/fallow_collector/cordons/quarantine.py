"""A node on which one lease after the other fails at once swallows work: it is taken out until somebody has looked.

An idle-looking broken node once took 554 pods in 1 h 46 m (pytorch/ci-infra#1058): it is always free again first.
"""

from typing import NamedTuple

FAILURES = 3
WITHIN_S = 900.0


class Failure(NamedTuple):
    """A lease that ended as failed soon after it had begun. at: monotonic seconds."""

    lease_id: str
    at: float


def with_failure(before: tuple[Failure, ...], failure: Failure) -> tuple[Failure, ...]:
    """The failures of a node that still count, each lease once; FAILURES of them are too many."""
    recent = [one for one in before if failure.at - one.at < WITHIN_S and one.lease_id != failure.lease_id]
    return (*recent, failure)


def verdict(failures: tuple[Failure, ...]) -> str:
    """Why the node is to be quarantined; empty: it is not."""
    if len(failures) < FAILURES:
        return ""
    span_s = failures[-1].at - failures[0].at
    names = ", ".join(failure.lease_id for failure in failures)
    return (
        f"{len(failures)} leases failed soon after they had begun, within {span_s:.0f} s: {names}; "
        f"look at the node, then `fallow uncordon` it"
    )
