"""The prolog as Slurm runs it, with whatever is on the node, and what it then asks of Slurm."""

import subprocess
from pathlib import Path

import pytest

PROLOG = Path(__file__).parents[3] / "deploy" / "slurm" / "prolog.sh"
ON_PROOF = "echo device GPU-0 is held >&2; exit 1"


class Node:
    """Programs that do what a script says and write down that they ran; none of them is there at first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ran = folder / "ran"
        self._prolog = folder / "prolog.sh"
        self._prolog.write_text(PROLOG.read_text().replace("/opt/fallow/bin", str(folder)))
        self._prolog.chmod(0o755)
        self.has("logger", "exit 0")

    def has(self, program: str, does: str) -> None:
        path = self._folder / program
        path.write_text(f'#!/bin/sh\necho "{program} $*" >> {self._ran}\n{does}\n')
        path.chmod(0o755)

    def starts(self) -> bool:
        done = subprocess.run(
            [self._prolog], env={"SLURM_JOB_ID": "7"}, capture_output=True, timeout=30, check=False
        )
        return done.returncode == 0

    def ran(self) -> list[str]:
        return self._ran.read_text().splitlines() if self._ran.exists() else []


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize("does", ["exit 0", "exit 2", "exit 127", "kill -9 $$", None])
def test_without_proof_the_job_starts_and_slurm_is_asked_nothing(node: Node, does: str | None) -> None:
    if does is not None:
        node.has("fallow-agent", does)
    assert node.starts()
    assert node.ran() == ([] if does is None else ["fallow-agent prolog"])


def test_a_job_starts_when_the_agent_s_command_hangs(node: Node) -> None:
    node.has("fallow-agent", "trap '' TERM; while :; do sleep 1; done")
    assert node.starts()


def test_on_proof_the_job_is_queued_again_and_the_reason_is_where_people_look(node: Node) -> None:
    node.has("fallow-agent", ON_PROOF)
    node.has("scontrol", "exit 0")
    assert node.starts()  # a status would drain the node
    assert node.ran() == [
        "fallow-agent prolog", "logger -t fallow-prolog job 7 is refused: device GPU-0 is held",
        "scontrol update jobid=7 admincomment=device GPU-0 is held", "scontrol requeue 7",
    ]


def test_a_job_that_cannot_be_queued_again_is_cancelled(node: Node) -> None:
    node.has("fallow-agent", ON_PROOF)
    node.has("scontrol", "exit 1")
    node.has("scancel", "exit 0")
    assert node.starts()
    assert node.ran()[-1] == "scancel 7"


def test_a_job_that_slurm_will_not_take_back_does_not_start_all_the_same(node: Node) -> None:
    node.has("fallow-agent", ON_PROOF)
    node.has("scontrol", "exit 1")
    node.has("scancel", "exit 1")
    assert not node.starts()
