"""Drives the simulated libnvidia-ml.so.1: builds it, changes its scenario under running processes, counts calls."""

import os
import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import files
from pathlib import Path
from typing import Any

from tests.simulators.nvml.scenario import Device, Event, Scenario, render

LIBRARY = "libnvidia-ml.so.1"
_SOURCE = Path(__file__).with_name("libnvidia-ml.c")
_TALLY = struct.Struct("56sQ")  # struct tally of scenario.h


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


class Simulator:
    """One node's simulated library: the environment under which processes find it, and what it answers."""

    def __init__(self, library_folder: Path, scenario_path: Path) -> None:
        self._path = scenario_path
        self._calls_path = Path(f"{scenario_path}.calls")
        self.energy_log = Path(f"{scenario_path}.energy")
        """Each value of the energy counters that was given out, once `note_energy` was called: "UUID MILLIJOULES"."""
        self.environment = {
            "LD_LIBRARY_PATH": str(library_folder),
            "FALLOW_NVML_SCENARIO": str(scenario_path),
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

    def calls(self) -> dict[str, int]:
        """Calls by function of all processes since the scenario's path was first used."""
        if not self._calls_path.exists():
            return {}
        return {
            name.rstrip(b"\0").decode(): calls
            for name, calls in _TALLY.iter_unpack(self._calls_path.read_bytes())
            if calls
        }


def _settled(device: Device, now: float) -> Device:
    if device.energy_since_s is None or device.energy_millijoules is None:
        return device
    used = int((device.power_milliwatts or 0) * (now - device.energy_since_s))
    return replace(device, energy_millijoules=device.energy_millijoules + used, energy_since_s=now)
