"""Whether a process belongs on a device that a job has: only what is known on both sides makes it foreign."""

from collections.abc import Sequence

from fallow_collector.ledgers.claim import Held
from fallow_proto.cgroup import named
from fallow_proto.v1 import telemetry_pb2 as pb

NOBODY = 65_534
"""What the kernel says of users that the agent's own user namespace does not have (kernel.overflowuid)."""

SCHEDULER = "slurmd.service"
"""Prologs and epilogs run there, between the job's allocation and its first process."""


def is_foreign(process: pb.Process, claims: Sequence[Held]) -> bool | None:
    """claims: of the jobs that have the device. None: it cannot be told."""
    if process.exempt:
        return False
    if process.problem or not claims or any(claim.uid is None or not claim.job for claim in claims):
        return None
    said = named(process.cgroup)
    if any(process.uid == claim.uid or said.job == claim.job for claim in claims):
        return False
    if not process.cgroup or process.uid == NOBODY or said.unit == SCHEDULER:
        return None
    return True
