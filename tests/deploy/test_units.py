"""systemd's own judgement of the units as install.sh puts them. It only warns of mistakes, so no word is allowed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.staged import INSTALL, add_nodes, stage

pytestmark = pytest.mark.server("systemd-analyze")

UNITS = INSTALL.parent / "systemd"

# systemd's score times 10, as it is now; more than 20 and 15 must not be. The agent's is higher because it must see
# devices and other processes, and with the drop-ins for all vendors the kernel's log.
MOST_EXPOSED = {"agent": 18, "collector": 12}
MOST_WITH_DROP_INS = {"agent": 21, "collector": 12}


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


def exposed(unit: Path, most: int) -> str:
    """Nothing, or systemd's last word on a unit that is more exposed."""
    done = analyze("security", "--offline=true", f"--threshold={most}", unit)
    return "" if done.returncode == 0 else done.stdout.splitlines()[-1]


def test_a_service_is_sandboxed(program: str) -> None:
    assert exposed(UNITS / f"fallow-{program}.service", MOST_EXPOSED[program]) == ""


def test_a_service_is_sandboxed_with_the_drop_ins_of_all_vendors(unit: Path, program: str) -> None:
    assert exposed(unit, MOST_WITH_DROP_INS[program]) == ""


@pytest.mark.parametrize("directive", ["NoNewPrivileges", "ProtectSystem", "CapabilityBoundingSet", "SystemCallFilter"])
def test_a_missing_directive_does_not_go_unnoticed(directive: str, program: str, tmp_path: Path) -> None:
    text = (UNITS / f"fallow-{program}.service").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(f"{directive}=")]
    assert len(lines) < len(text.splitlines())
    mine = tmp_path / f"fallow-{program}.service"
    mine.write_text("\n".join(lines), encoding="utf-8")
    assert "exposure level" in exposed(mine, MOST_EXPOSED[program])
