"""systemd's own judgement of the units as install.sh puts them. It only warns of mistakes, so no word is allowed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.staged import add_nodes, stage

pytestmark = pytest.mark.server("systemd-analyze")

# systemd's score times 10; the agent's is higher because it must see devices, other processes and the kernel's log.
MOST_EXPOSED = {"agent": 21, "collector": 15}


@pytest.fixture(params=sorted(MOST_EXPOSED))
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def unit(program: str, tmp_path: Path) -> Path:
    """The unit with drop-ins for every vendor; it starts the program of this environment, which is there."""
    add_nodes(tmp_path, "nvidia0", "davinci0", "kfd")
    stage(tmp_path, program, "--prefix", sys.prefix)
    return tmp_path / f"etc/systemd/system/fallow-{program}.service"


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_systemd_has_nothing_to_say_about_a_unit(unit: Path) -> None:
    done = analyze("verify", unit)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_systemd_does_find_a_misspelt_key_in_a_drop_in(unit: Path) -> None:
    folder = unit.with_name(f"{unit.name}.d")
    folder.mkdir(exist_ok=True)
    (folder / "mine.conf").write_text("[Service]\nMemoryMaximum=1G\n")
    done = analyze("verify", unit)
    assert "Unknown key 'MemoryMaximum'" in done.stderr


def test_a_service_is_sandboxed(unit: Path, program: str) -> None:
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED[program]}", unit)
    assert done.returncode == 0, done.stdout.splitlines()[-1]
