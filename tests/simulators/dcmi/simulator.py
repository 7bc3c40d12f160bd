"""Drives the simulated libdcmi.so: builds it, changes its scenario under running processes, counts calls."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.simulators.dcmi.scenario import Scenario, render
from tests.simulators.played import Played

LIBRARY = "libdcmi.so"
_SOURCE = Path(__file__).with_name("libdcmi.c")


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


class Simulator(Played[Scenario]):
    def __init__(self, library_folder: Path, scenario_path: Path) -> None:
        super().__init__(library_folder, scenario_path, "FALLOW_DCMI_SCENARIO", Scenario(), render)

    def change(self, index: int, **changes: Any) -> None:
        """Change fields of one chip."""
        chips = list(self.scenario.chips)
        chips[index] = replace(chips[index], **changes)
        self.play(replace(self.scenario, chips=tuple(chips)))
