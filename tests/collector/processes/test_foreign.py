"""Which processes do not belong on a device that a job has; never by what is not known."""

import pytest

from fallow_collector.ledgers.claim import Held
from fallow_collector.processes.foreign import NOBODY, is_foreign
from fallow_proto.v1 import telemetry_pb2 as pb

ALICE, MALLORY = 1000, 1666
V2 = "/system.slice/slurmstepd.scope/job_{}/step_0/user/task_0"
V1 = "/slurm/uid_1000/job_{}/step_0"
SESSION = "/user.slice/user-1666.slice/session-3.scope"
JOB = Held("job 17 of alice", minor=0, job="17", uid=ALICE)


def process(uid: int = MALLORY, cgroup: str = SESSION, **changed: object) -> pb.Process:
    return pb.Process(pid=4711, started_ms=1, command="python", user="u", uid=uid, cgroup=cgroup, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(("found", "foreign"), [
    (process(), True),
    (process(cgroup=V2.format(18)), True),  # of another job of another user
    (process(cgroup=V1.format(18)), True),
    (process(cgroup="/docker/" + "a" * 64, uid=0), True),
    (process(uid=ALICE), False),  # a session of the job's user, outside of its control group
    (process(uid=ALICE, cgroup=V2.format(18)), False),  # another job of the same user
    (process(cgroup=V2.format(17)), False),  # a container of the job's with other users in it
    (process(cgroup=V1.format(17)), False),
    (process(exempt=True), False),
    (process(uid=ALICE, cgroup=""), False),
    (process(cgroup=""), None),
    (process(problem="not in /proc"), None),
    (process(uid=NOBODY), None),
    (process(uid=0, cgroup="/system.slice/slurmd.service"), None),  # a prolog
])
def test_a_process_of_neither_the_jobs_user_nor_its_control_group_is_foreign(
    found: pb.Process, foreign: bool | None
) -> None:
    assert is_foreign(found, [JOB]) is foreign


@pytest.mark.parametrize("claims", [
    [],
    [Held("job 17", minor=0)],
    [JOB._replace(uid=None)],
    [JOB._replace(job="")],
    [JOB, Held("default/train-0", uuid="a")],
], ids=["nobody has it", "nothing said", "no user", "no job", "of one of two nothing said"])
def test_where_a_holder_is_not_fully_known_no_process_is_foreign(claims: list[Held]) -> None:
    assert is_foreign(process(), claims) is None


def test_on_a_device_that_two_jobs_have_a_process_of_either_belongs() -> None:
    both = [JOB, Held("job 18 of mallory", minor=0, job="18", uid=MALLORY)]
    assert is_foreign(process(), both) is False
    assert is_foreign(process(uid=0), both) is True
