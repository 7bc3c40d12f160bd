"""The main job for another vendor: simulated DCMI → agent → gRPC → collector → `fallow`."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from fallow_client.client import Client
from tests.e2e.programs import BIN, Agent, Collector, environment, until
from tests.e2e.test_path import FAST, QUICK, phase_of, wait_for_phase
from tests.simulators.dcmi.scenario import AICORE, WHOLE_NPU, Process, Scenario, ascend_910b2, uuid_of
from tests.simulators.dcmi.simulator import Simulator

pytestmark = pytest.mark.server("cc")

CHIPS = (ascend_910b2(0), ascend_910b2(1))
FIRST, SECOND = map(uuid_of, CHIPS)


def test_a_chip_is_idle_after_the_window_unmanaged_at_work_and_faulty_when_it_says_so(
    tmp_path: Path, dcmi: Simulator
) -> None:
    dcmi.play(Scenario(CHIPS))
    with (
        Collector(tmp_path, *QUICK) as collector,
        Agent(tmp_path, collector.grpc, *FAST, more_environment=dcmi.environment),
    ):
        first = wait_for_phase(collector, FIRST, "idle")
        wait_for_phase(collector, SECOND, "idle")
        assert (first.vendor, first.model, first.node) == ("ascend", "910B2", "n1")
        assert (first.freshness, first.health, first.confidence) == ("live", "ok", "high")
        assert first.power_watts == pytest.approx(101.3)

        dcmi.change(
            0, utilization_percent={AICORE: 92, WHOLE_NPU: 90}, power_deciwatts=3_050, hbm_used_mebibytes=58_000,
            processes=(Process(os.getpid(), 54_000 << 20),),
        )
        first = wait_for_phase(collector, FIRST, "unmanaged")
        assert {"active", "process_present", "memory_held"} <= set(first.reasons)
        assert phase_of(collector, SECOND) == "idle"

        dcmi.change(1, health=3, error_codes=(0x40F84E00,))
        second = wait_for_phase(collector, SECOND, "faulty")
        assert (second.reasons[0], second.health) == ("recovery_required", "failed")
        dropped = until(lambda: faults(collector), "the fault is an event of the chip")
        assert dropped == [(0x40F84E00, "dcmi", "fault 40F84E00; Huawei's device plugin does about it: reset")]
        dcmi.change(1, health=0, error_codes=())
        wait_for_phase(collector, SECOND, "idle")

        dcmi.change(1, faults={"*": -8008})
        second = wait_for_phase(collector, SECOND, "faulty")
        assert second.reasons[0] == "device_lost"
        until(lambda: collector.devices()[FIRST].freshness == "live", "the other one is still read")


def faults(collector: Collector) -> list[tuple[int | None, str | None, str]]:
    """Code, source and message of the second chip's faults."""
    with Client(collector.url) as client:
        events = client.device(SECOND).events
    return [(each.code, each.source, each.message) for each in events if each.kind == "device_fault"]


def agent_says(folder: Path, dcmi: Simulator, *arguments: str) -> str:
    config = folder / "agent.toml"
    config.write_text(
        f'readers.enabled = ["ascend"]\nreaders.run_dir = "{folder / "run"}"\nspool.dir = "{folder / "spool"}"\n'
    )
    done = subprocess.run(
        [str(BIN / "fallow-agent"), "--config", str(config), *arguments], env=environment(**dcmi.environment),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )
    return done.stdout


def test_the_agent_alone_shows_the_chips_and_examines_them(tmp_path: Path, dcmi: Simulator) -> None:
    dcmi.play(Scenario(CHIPS))
    devices = json.loads(agent_says(tmp_path, dcmi, "--once", "--json"))["devices"]
    assert [(each["uuid"], each["model"], each["reason"]) for each in devices] == [
        (FIRST, "910B2", "ok"), (SECOND, "910B2", "ok"),
    ]
    assert devices[0]["memory_usage_bytes"] == 3_432 << 20
    examined = agent_says(tmp_path, dcmi, "--doctor")
    assert "ok    reader ascend: works, devices: 2, driver 25.5.1" in examined
    assert f"ok    device 0 of ascend (910B2, {FIRST}): 9 metrics read" in examined
