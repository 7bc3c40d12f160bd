"""The prolog as Slurm runs it, with whatever `fallow-agent` is on the node."""

import subprocess
from pathlib import Path

import pytest

PROLOG = Path(__file__).parents[3] / "deploy" / "slurm" / "prolog.sh"


def status(folder: Path, agent: str | None) -> int:
    """Its exit status where fallow-agent is this script; None: it is not installed."""
    if agent is not None:
        program = folder / "fallow-agent"
        program.write_text(f"#!/bin/sh\n{agent}\n")
        program.chmod(0o755)
    done = subprocess.run([PROLOG], env={"PATH": f"{folder}:/usr/bin:/bin"}, timeout=30, check=False)
    return done.returncode


@pytest.mark.parametrize(("agent", "expected"), [
    ("exit 1", 1),
    ('[ "$1" = prolog ] && exit 1', 1),
    ("exit 0", 0),
    ("exit 2", 0),
    ("exit 127", 0),
    ("kill -9 $$", 0),
    (None, 0),
])
def test_a_job_is_refused_on_proof_alone_and_starts_whatever_else_happens(
    tmp_path: Path, agent: str | None, expected: int
) -> None:
    assert status(tmp_path, agent) == expected


def test_a_job_starts_when_the_agent_s_command_hangs(tmp_path: Path) -> None:
    assert status(tmp_path, "trap '' TERM; while :; do sleep 1; done") == 0
