"""What all tests share: real servers and real data are looked for by name, and in CI they must be there."""

import os
import shutil
from pathlib import Path

import pytest

IN_CI = os.environ.get("CI", "") == "true"
DEBIAN_PACKAGE = {
    "victoria-metrics": "victoria-metrics",
    "influxd": "influxdb",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
    "cc": "gcc",
    "strace": "strace",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "scontrol": "slurm-client",
    "munged": "munge",
    "ip": "iproute2",
}


def _missing(what: str, remedy: str) -> None:
    if IN_CI:
        pytest.fail(f"{what} is missing, and CI must not skip: {remedy}")
    pytest.skip(f"{what} is missing: {remedy}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("server"):
        for program in marker.args:
            if shutil.which(program) is None:
                _missing(program, f"apt-get install {DEBIAN_PACKAGE[program]}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public data, which is not part of this project."""
    folder = Path(os.environ.get("FALLOW_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        _missing(f"the data folder {folder}", "set FALLOW_DATA to it")
    return folder
