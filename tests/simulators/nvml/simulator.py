"""Drives the simulated libnvidia-ml.so.1: builds it, changes its scenario under running processes, counts calls."""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import files
from pathlib import Path
from typing import Any

from tests.simulators.nvml.scenario import Device, Event, Scenario, render
from tests.simulators.played import Played

LIBRARY = "libnvidia-ml.so.1"
_SOURCE = Path(__file__).with_name("libnvidia-ml.c")


def build(folder: Path, without: Sequence[str] = ()) -> Path:
    """Compile the library into `folder`, which then belongs into LD_LIBRARY_PATH. Raises CalledProcessError.

    without: functions that it does not have, as one older than they are.
    """
    hidden = folder / "hidden"
    hidden.write_text(f"{{ local: {''.join(f'{name}; ' for name in ('_', *without))}}};\n")
    header = next(Path(str(file.locate())) for file in files("nvidia-nvml-dev") or () if file.name == "nvml.h")
    subprocess.run(
        [
            "cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared",
            "-isystem", str(header.parent), f"-Wl,-soname,{LIBRARY}",
            f"-Wl,--version-script,{hidden}",
            "-o", str(folder / LIBRARY), str(_SOURCE), "-lpthread",
        ],
        check=True,
    )
    return folder


class Simulator(Played[Scenario]):
    def __init__(self, library_folder: Path, scenario_path: Path) -> None:
        super().__init__(library_folder, scenario_path, "FALLOW_NVML_SCENARIO", Scenario(), render)
        self.energy_log = Path(f"{scenario_path}.energy")
        """Each value of the energy counters that was given out, once `note_energy` was called: "UUID MILLIJOULES"."""

    def change(self, index: int, **changes: Any) -> None:
        """Change fields of one device. Energy that it used until now stays used."""
        devices = list(self.scenario.devices)
        devices[index] = replace(_settled(devices[index], time.monotonic()), **changes)
        self.play(replace(self.scenario, devices=tuple(devices)))

    def happen(self, *events: Event) -> None:
        """The driver tells these now."""
        self.play(replace(self.scenario, events=self.scenario.events + events))

    def note_energy(self) -> None:
        """Processes that are started from now on note the energy that they are told, and are told no value twice."""
        self.environment["FALLOW_NVML_ENERGY_LOG"] = str(self.energy_log)


def _settled(device: Device, now: float) -> Device:
    if device.energy_since_s is None or device.energy_millijoules is None:
        return device
    used = int((device.power_milliwatts or 0) * (now - device.energy_since_s))
    return replace(device, energy_millijoules=device.energy_millijoules + used, energy_since_s=now)
