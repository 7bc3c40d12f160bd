"""The adapter's unit in systemd's own judgement, and the prolog in the shells' that may run it."""

import subprocess
import sys
from pathlib import Path

import pytest

SLURM = Path(__file__).parents[3] / "deploy" / "slurm"
MOST_EXPOSED = 20
"""systemd's score times 10; it talks to munge, to slurmctld and to the collector."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """It starts the program of this environment, which is there."""
    copy = tmp_path / "fallow-slurm.service"
    copy.write_text((SLURM / copy.name).read_text().replace("/opt/fallow", sys.prefix))
    return copy


def run(*command: str | Path) -> tuple[str, int]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr, done.returncode


@pytest.mark.server("systemd-analyze")
def test_systemd_has_nothing_to_say_about_the_unit(unit: Path) -> None:
    assert run("systemd-analyze", "verify", unit) == ("", 0)


@pytest.mark.server("systemd-analyze")
def test_the_service_is_sandboxed(unit: Path) -> None:
    said, status = run("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit)
    assert status == 0, said.splitlines()[-1]


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_shells_understand_the_prolog(shell: str) -> None:
    assert run(shell, "-n", SLURM / "prolog.sh") == ("", 0)


def test_the_prolog_may_be_executed_and_looks_where_install_sh_puts_the_agent() -> None:
    prolog = SLURM / "prolog.sh"
    assert prolog.stat().st_mode & 0o111
    prefix = next(
        line for line in (SLURM.parent / "install.sh").read_text().splitlines() if " prefix=" in line
    ).partition(" prefix=")[2].split()[0]
    assert f'PATH="{prefix}/bin:' in prolog.read_text()
