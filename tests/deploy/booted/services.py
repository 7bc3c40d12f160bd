"""Fallow's two services on a booted machine, as an operator has them: installed by install.sh, asked with `fallow`."""

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.deploy.booted.machine import Machine
from tests.deploy.booted.root import REPOSITORY
from tests.e2e.programs import until
from tests.simulators.nvml.scenario import Scenario, h100
from tests.simulators.nvml.simulator import Simulator

AGENT, COLLECTOR = "fallow-agent", "fallow-collector"
PROGRAMS = {AGENT: "agent", COLLECTOR: "collector"}
BOARDS = 2
WATCHDOG_S = 6
SOURCE, DEPENDENCIES, RELEASES, DRIVER = "/srv/fallow", "/srv/dependencies", "/srv/releases", "/srv/driver"

_SETTINGS = {
    AGENT: f"""\
Environment=LD_LIBRARY_PATH={DRIVER} FALLOW_NVML_SCENARIO={DRIVER}/scenario
ReadWritePaths={DRIVER}
WatchdogSec={WATCHDOG_S}
""",
    COLLECTOR: f"""\
Environment=FALLOW_COLLECTOR_IDLE__CONFIRM_S=3 FALLOW_COLLECTOR_IDLE__CONFIRM_READINGS=3
WatchdogSec={WATCHDOG_S}
""",
}
"""What the tests have otherwise than an operator: a simulated driver, and less patience."""


def binds(dependencies: Path, releases: Path) -> dict[str, Path]:
    return {
        f"{SOURCE}/deploy": REPOSITORY / "deploy", f"{SOURCE}/requirements": REPOSITORY / "requirements",
        DEPENDENCIES: dependencies, RELEASES: releases,
    }


class Services:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        folder = machine.root / DRIVER.removeprefix("/")
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)  # the readers count their calls there
        self.driver = Simulator(folder, folder / "scenario")

    def install(self, release: str) -> None:
        """Both, or another release of both. No index is asked: the machine has no network."""
        wheel = self.machine.run("find", f"{RELEASES}/{release}", "-name", "*.whl").strip()
        for program in PROGRAMS.values():
            self.install_sh(program, "--wheel", wheel)

    def install_sh(self, *arguments: str) -> str:
        return self.machine.run(
            "bash", f"{SOURCE}/deploy/install.sh", *arguments, PIP_NO_INDEX="1", PIP_FIND_LINKS=DEPENDENCIES
        )

    def start(self) -> None:
        """systemctl returns when they have said that they are ready."""
        now = time.monotonic()  # their energy rises: what never changes is frozen, and not idle
        self.driver.play(Scenario(tuple(replace(h100(number), energy_since_s=now) for number in range(BOARDS))))
        for unit, settings in _SETTINGS.items():
            folder = self.machine.root / "etc/systemd/system" / f"{unit}.service.d"
            folder.mkdir(exist_ok=True)
            (folder / "test.conf").write_text(f"[Service]\n{settings}")
        self.machine.systemctl("daemon-reload")
        self.machine.systemctl("enable", "--now", *PROGRAMS)

    def pid(self, unit: str) -> int:
        return int(self.machine.show(unit, "MainPID"))

    def restarts(self, unit: str) -> int:
        """That systemd has made by itself."""
        return int(self.machine.show(unit, "NRestarts"))

    def signal(self, unit: str, name: str) -> None:
        self.machine.systemctl("kill", "--kill-whom=main", f"--signal={name}", unit)

    def wait_for_restart(self, unit: str, before: int) -> None:
        """Until systemd has restarted it, and it has said again that it is ready."""
        until(lambda: self.restarts(unit) > before, f"systemd restarts {unit}")
        until(lambda: self.machine.show(unit, "ActiveState") == "active", f"{unit} is ready again")

    def wait_for_status(self, unit: str, text: str) -> None:
        until(lambda: text in self.machine.show(unit, "StatusText"), f"the status of {unit} says {text!r}")

    def wait_for_journal(self, unit: str, text: str) -> None:
        until(lambda: text in self.machine.journal(unit), f"the journal of {unit} says {text!r}")

    def fallow(self, *arguments: str, status: int | None = 0) -> Any:
        """The answer of `fallow … --json` on that machine; nothing where it gives none."""
        said = self.machine.run("/opt/fallow/bin/fallow", *arguments, "--json", status=status)
        return json.loads(said) if said else None

    def release(self, lease: Any) -> None:
        self.fallow("release", lease["lease_id"], "--token", str(lease["fencing_token"]), "--holder", lease["holder"])

    def idle(self) -> int:
        """Boards that can be had."""
        answer = self.fallow("capacity", status=None)
        return sum(group["idle"] for group in answer["groups"] if group["vendor"] == "nvidia") if answer else 0

    def wait_for_idle(self, boards: int) -> None:
        until(lambda: self.idle() == boards, f"{boards} boards are idle")

    def judged(self) -> int:
        """Reports that the collector has judged since it started."""
        program = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:4918/metrics').read().decode())"
        said = self.machine.run("/opt/fallow/bin/python", "-c", program)
        return next(
            int(float(line.split()[1])) for line in said.splitlines() if line.startswith("fallow_fleet_judged_total ")
        )

    def spooled(self) -> int:
        """Reports and events that the agent still has to get stored; while it does not run."""
        with closing(sqlite3.connect(self.machine.root / "var/lib/fallow/agent/spool.sqlite")) as spool:
            [[count]] = spool.execute("SELECT (SELECT count(*) FROM report) + (SELECT count(*) FROM event)")
        return int(count)

    def ending(self, unit: str) -> tuple[str, str]:
        """How systemd saw the last run end, and its exit status."""
        return self.machine.show(unit, "Result"), self.machine.show(unit, "ExecMainStatus")

    def memory_bytes(self, unit: str) -> int:
        """The proportional set size of all its processes."""
        group = self.machine.show(unit, "ControlGroup")
        pids = self.machine.run("cat", f"/sys/fs/cgroup/systemd{group}/cgroup.procs").split()
        return sum(
            int(line.split()[1]) * 1024
            for pid in pids
            for line in self.machine.run("cat", f"/proc/{pid}/smaps_rollup").splitlines()
            if line.startswith("Pss:")
        )
