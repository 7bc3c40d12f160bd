"""NVIDIA's driver is unloaded and upgraded under a real agent."""

from dataclasses import replace
from pathlib import Path

import pytest

from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.collector import Collector, wait_for
from tests.agent.process import AgentProcess, configuration
from tests.simulators.nvml.scenario import Scenario, h100
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")

DRIVER_NOT_LOADED, VERSION_MISMATCH = 9, 18


def last_reasons(collector: Collector) -> set[int]:
    return {reason for readings in collector.reports()[-1].readings for reason in readings.reasons}


def configure(folder: Path, collector: str) -> None:
    text = configuration(folder, collector).replace('["host"]', '["nvidia"]')
    (folder / "agent.toml").write_text(text)


def drivers(collector: Collector) -> list[str]:
    return [event.kind for event in collector.events() if event.kind.startswith("driver_")]


def test_a_driver_that_is_upgraded_is_two_events_and_unknown_between(nvml: Simulator, tmp_path: Path) -> None:
    nvml.play(Scenario((h100(0), h100(1))))
    with Collector() as collector:
        configure(tmp_path, collector.address)
        with AgentProcess(tmp_path, collector.address, environment=nvml.environment) as agent:
            wait_for(lambda: bool(collector.reports()), "a report")
            nvml.play(replace(nvml.scenario, faults={"*": VERSION_MISMATCH}))
            wait_for(lambda: drivers(collector) == ["driver_unloaded"], "it is gone")
            wait_for(lambda: last_reasons(collector) == {pb.REASON_DRIVER}, "its devices are unknown")
            nvml.play(replace(nvml.scenario, faults={}, driver_version="590.10"))
            wait_for(lambda: drivers(collector) == ["driver_unloaded", "driver_loaded"], "it is back")
            loaded = next(event for event in collector.events() if event.kind == "driver_loaded")
            assert loaded.message == "reader nvidia: driver 590.10 is loaded"
            wait_for(lambda: not last_reasons(collector), "its devices are known")
            assert agent.stop() == 0


def test_a_driver_that_leaves_nothing_behind_is_unloaded_and_its_devices_vanish(
    nvml: Simulator, tmp_path: Path
) -> None:
    nvml.play(Scenario((h100(0),)))
    with Collector() as collector:
        configure(tmp_path, collector.address)
        with AgentProcess(tmp_path, collector.address, environment=nvml.environment) as agent:
            wait_for(lambda: bool(collector.reports()), "a report")
            nvml.play(replace(nvml.scenario, faults={"*": DRIVER_NOT_LOADED}))
            wait_for(lambda: drivers(collector) == ["driver_unloaded"], "it is gone")
            wait_for(lambda: "device_vanished" in {event.kind for event in collector.events()}, "so is its device")
            assert agent.stop() == 0
