import subprocess
import sys
from pathlib import Path

from tests.client.conftest import environment
from tests.client.dispatching import Dispatching
from tests.collector.api.served import serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "dispatcher.py"


def dispatch(url: str, program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(EXAMPLE), sys.executable, "-c", program], env=environment(FALLOW_URL=url),
        capture_output=True, text=True, timeout=60, check=False,
    )


def test_the_example_runs_a_command_on_a_leased_device_and_gives_it_back() -> None:
    parts = Dispatching()
    with serving(parts.app) as url:
        done = dispatch(url, "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "GPU-00c0ffee-1111-2222-3333-444444444440\n"
    assert parts.leases.outcomes == ["ok"]


def test_the_example_releases_as_failed_what_failed() -> None:
    parts = Dispatching()
    with serving(parts.app) as url:
        assert dispatch(url, "raise SystemExit(7)").returncode == 1
    assert parts.leases.outcomes == ["failed"]


def test_the_example_says_when_nothing_is_idle() -> None:
    parts = Dispatching()
    parts.answers.members.clear()
    with serving(parts.app) as url:
        assert dispatch(url, "").returncode == 3


def test_the_example_stops_its_command_when_the_lease_is_lost() -> None:
    parts = Dispatching()
    with serving(parts.app) as url:
        parts.losses += ["", *["all"] * 1000]
        parts.leases.longest_ttl_s = 1.0
        done = dispatch(url, "import time; time.sleep(600)")
    assert done.returncode == 1
    assert "stop what runs on them" in done.stderr or "died with" in done.stderr
