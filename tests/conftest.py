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
    "prometheus-alertmanager": "prometheus-alertmanager",
    "systemd-analyze": "systemd",
    "cc": "gcc",
    "strace": "strace",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "scontrol": "slurm-client",
    "munged": "munge",
    "ip": "iproute2",
    "faketime": "faketime",
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
}

LONGEST = (
    "deploy/booted/test_booted.py", "faults/test_power_cut.py", "faults/test_full_disk.py", "faults/test_slow_store.py",
    "faults/test_system_calls.py", "faults/test_failing_calls.py", "faults/test_slow_disk.py",
    "e2e/test_identity.py", "e2e/test_path.py", "collector/stores/embedded/test_crash.py", "e2e/test_slurm.py",
    "e2e/race/test_race.py",
    "collector/idle/test_properties.py", "e2e/test_demo.py", "collector/test_app.py", "e2e/test_watch_and_replay.py",
    "agent/test_cli.py", "agent/test_app.py", "client/test_cli.py", "client/test_dispatch_commands.py",
    "e2e/test_dispatch.py", "e2e/test_slurm_prolog.py", "e2e/test_ascend.py", "e2e/test_partitions.py",
    "e2e/test_alert_faults.py", "e2e/test_alerts.py", "e2e/test_alertmanager.py",
    "faults/test_cuts.py", "faults/test_partitions.py", "faults/test_wrong_peers.py", "faults/test_hangs.py",
    "faults/test_herd.py", "faults/test_clocks.py", "faults/test_kill_store.py", "faults/test_descriptors.py",
)
"""Files that take more than 20 s, most of it waiting for processes; the longest first."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of parallel workers each takes the next file: the long ones first, or the last worker would wait on one alone."""
    if hasattr(config, "workerinput"):
        rank = {Path(__file__).parent / file: number for number, file in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(item.path, len(rank)))


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many inputs the fuzz tests have tried."""
    tried = sum(
        count
        for reports in terminalreporter.stats.values() for report in reports
        if getattr(report, "when", "") == "call"
        for name, count in report.user_properties if name == "fuzzed"
    )
    if tried:
        terminalreporter.write_line(f"fuzzed {tried:,} inputs")
