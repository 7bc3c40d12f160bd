"""The prolog in the real slurmd: who is refused, what becomes of the job and of its node, and who is let go."""

from collections.abc import Iterator

import pytest

from tests.e2e.programs import until
from tests.e2e.slurm import Slurm

pytestmark = pytest.mark.server("slurmctld", "slurmd", "scontrol", "munged", "ip")

HANGS = "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    with Slurm() as running:
        yield running


@pytest.fixture
def slurm(cluster: Slurm) -> Iterator[Slurm]:
    """With an agent, and nothing held."""
    cluster.forget()
    cluster.install_agent()
    yield cluster
    cluster.run("scancel", "--user=root")
    until(lambda: not cluster.run("squeue", "-h", "-o", "%i").strip(), "no job is left")
    assert "DRAIN" not in cluster.node("node0")


@pytest.mark.parametrize("comment", ["nightly", "fallow-token=6"])
def test_a_job_that_gets_a_device_held_under_a_higher_token_goes_back_to_the_queue_and_its_node_stays(
    slurm: Slurm, comment: str
) -> None:
    slurm.hold(minor=0, token=7)
    job = slurm.ask("node0", 1, "--comment", comment)
    until(lambda: " Restarts=1 " in slurm.run("scontrol", "show", "job", "-o", job), "the job is queued again")
    until(lambda: "State=IDLE " in slurm.node("node0"), "the node is free")
    shown = slurm.run("scontrol", "show", "job", "-o", job)
    assert " JobState=PENDING " in shown
    assert "AdminComment=fallow-agent prolog: device GPU-0 (minor 0) is held by alice with token 7" in shown
    assert not slurm.has_run(job)


@pytest.mark.parametrize("comment", ["fallow-token=7", "fallow-token=8"])
def test_the_holder_s_own_job_starts(slurm: Slurm, comment: str) -> None:
    slurm.hold(minor=0, token=7)
    slurm.submit("node0", 1, "--comment", comment)


def test_a_job_on_another_device_starts(slurm: Slurm) -> None:
    slurm.hold(minor=5, token=7)
    slurm.submit("node0", 5)


def test_a_job_that_cannot_be_queued_again_is_cancelled_and_its_node_stays(slurm: Slurm) -> None:
    slurm.hold(minor=0, token=7)
    job = slurm.ask("node0", 1, "--no-requeue")
    until(lambda: " JobState=CANCELLED " in slurm.run("scontrol", "show", "job", "-o", job), "the job is cancelled")
    assert not slurm.has_run(job)
    done = slurm.run("srun", "-w", "node0", "--gres=gpu:1", "echo", "it ran", check=False)
    assert "it ran" not in done


def test_a_job_starts_where_the_agent_shows_nothing(slurm: Slurm) -> None:
    slurm.submit("node0", 1)


def test_a_job_starts_where_the_agent_s_command_hangs(slurm: Slurm) -> None:
    slurm.hold(minor=0, token=7)
    slurm.install_agent(HANGS)
    slurm.submit("node0", 1)
