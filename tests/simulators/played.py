"""Drives a simulated library of a vendor: its scenario, replaced under running processes, and its calls, counted."""

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Scenario = TypeVar("Scenario")

_TALLY = struct.Struct("56sQ")  # struct tally of played.h


class Played(Generic[Scenario]):
    """One node's simulated library: the environment under which processes find it, and what it answers."""

    def __init__(
        self, library_folder: Path, scenario_path: Path, variable: str, scenario: Scenario,
        render: Callable[[Scenario], str],
    ) -> None:
        """variable: names the scenario's file to the library (SCENARIO in its calls.h)."""
        self._path = scenario_path
        self._calls_path = Path(f"{scenario_path}.calls")
        self._render = render
        self.environment = {"LD_LIBRARY_PATH": str(library_folder), variable: str(scenario_path)}
        self.scenario = scenario

    def play(self, scenario: Scenario) -> None:
        """Answer by this scenario from the next call on. Replaced by rename, so no process reads half of it."""
        new = self._path.with_suffix(".new")
        new.write_text(self._render(scenario), errors="surrogateescape")
        now = time.time_ns()
        os.utime(new, ns=(now, now))  # the kernel's own stamps are too coarse to tell two quick changes apart
        new.rename(self._path)
        self.scenario = scenario

    def calls(self) -> dict[str, int]:
        """Calls by function of all processes since the scenario's path was first used."""
        if not self._calls_path.exists():
            return {}
        return {
            name.rstrip(b"\0").decode(): calls
            for name, calls in _TALLY.iter_unpack(self._calls_path.read_bytes())
            if calls
        }
