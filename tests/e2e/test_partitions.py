"""A board in MIG mode with real programs: its instances are counted, and not the board beside them."""

import os
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.e2e.programs import Agent, Collector, until
from tests.simulators.nvml.scenario import MIB, Event, Instance, Process, Scenario, h100, partitioned
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")

MIG_CHANGED = 0x100
BOARD = h100(0)
ONE, TWO, THREE = (Instance(f"MIG-5d0b6b0a-8a44-5fd5-9e50-{number:012x}", number) for number in (1, 2, 3))
BUSY = replace(TWO, sm_active_percent=80.0, compute_processes=(Process(os.getpid(), 8_000 * MIB),))
ACTIVE = pytest.approx(0.8)
HALF = replace(
    THREE, name="NVIDIA H100 80GB HBM3 MIG 3g.40gb", slices=(3, 3), memory_total_bytes=40_448 * MIB
)


def phase(collector: Collector, uuid: str) -> str:
    device = collector.devices().get(uuid)
    return device.phase if device else ""


def counted(collector: Collector) -> dict[str | None, int]:
    """How many devices are seen, by profile."""
    groups = httpx.get(f"{collector.url}/api/v1/capacity?class=intelligent", trust_env=False).json()["groups"]
    return {group["partition_profile"]: group["seen"] for group in groups}


def test_instances_are_counted_instead_of_their_board_and_again_when_it_is_cut_anew(
    tmp_path: Path, nvml: Simulator
) -> None:
    nvml.play(Scenario((partitioned(BOARD, ONE, BUSY), h100(1))))
    settings = ("idle.confirm_s = 3", "idle.confirm_readings = 3")
    with Collector(tmp_path, *settings) as collector, Agent(
        tmp_path, collector.grpc, "interval_s = 0.5", more_environment=nvml.environment
    ):
        until(lambda: len(collector.devices()) >= 4, "the boards and two instances")
        devices = collector.devices()
        assert (devices[ONE.uuid].parent, devices[ONE.uuid].partition_profile) == (BOARD.uuid, "1g.10gb")
        until(lambda: phase(collector, TWO.uuid) == "unmanaged", "the busy one is")
        until(lambda: collector.devices()[TWO.uuid].compute_active_ratio == ACTIVE, "so active is it alone")
        assert collector.devices()[ONE.uuid].compute_active_ratio == 0
        assert counted(collector) == {None: 1, "1g.10gb": 2}

        nvml.change(0, instances=(HALF, BUSY))
        nvml.happen(Event(MIG_CHANGED, 0, BOARD.uuid))
        until(lambda: phase(collector, HALF.uuid) != "", "the new instance is there")
        until(lambda: phase(collector, ONE.uuid) == "absent", "the old one is not")
        assert counted(collector)["3g.40gb"] == 1
        assert counted(collector)[None] == 1
