"""Drives the simulated libdcmi.so: builds it, changes its scenario under running processes, counts calls."""

import os
import struct
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.simulators.dcmi.scenario import Scenario, render

LIBRARY = "libdcmi.so"
_SOURCE = Path(__file__).with_name("libdcmi.c")
_TALLY = struct.Struct("56sQ")  # struct tally of scenario.h


def build(folder: Path) -> Path:
    """Compile the library into `folder`, which then belongs into LD_LIBRARY_PATH. Raises CalledProcessError."""
    subprocess.run(
        [
            "cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", f"-Wl,-soname,{LIBRARY}",
            "-o", str(folder / LIBRARY), str(_SOURCE), "-lpthread",
        ],
        check=True,
    )
    return folder


class Simulator:
    """One node's simulated library: the environment under which processes find it, and what it answers."""

    def __init__(self, library_folder: Path, scenario_path: Path) -> None:
        self._path = scenario_path
        self._calls_path = Path(f"{scenario_path}.calls")
        self.environment = {
            "LD_LIBRARY_PATH": str(library_folder),
            "FALLOW_DCMI_SCENARIO": str(scenario_path),
        }
        self.scenario = Scenario()

    def play(self, scenario: Scenario) -> None:
        """Answer by this scenario from the next call on. Replaced by rename, so no process reads half of it."""
        new = self._path.with_suffix(".new")
        new.write_text(render(scenario))
        now = time.time_ns()
        os.utime(new, ns=(now, now))  # the kernel's own stamps are too coarse to tell two quick changes apart
        new.rename(self._path)
        self.scenario = scenario

    def change(self, index: int, **changes: Any) -> None:
        """Change fields of one chip."""
        chips = list(self.scenario.chips)
        chips[index] = replace(chips[index], **changes)
        self.play(replace(self.scenario, chips=tuple(chips)))

    def calls(self) -> dict[str, int]:
        """Calls by function of all processes since the scenario's path was first used."""
        if not self._calls_path.exists():
            return {}
        return {
            name.rstrip(b"\0").decode(): calls
            for name, calls in _TALLY.iter_unpack(self._calls_path.read_bytes())
            if calls
        }
