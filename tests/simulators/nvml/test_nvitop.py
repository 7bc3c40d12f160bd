"""The simulated library shows its devices to a third party, so its ABI is NVIDIA's and not only ours."""

import json
import os
import subprocess
import sys

import pytest

from tests.simulators.nvml.scenario import MIB, Process, Scenario, h100
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")

SHOW = """
import json
from nvitop import Device
print(json.dumps([
    {
        "index": device.index,
        "name": device.name(),
        "uuid": device.uuid(),
        "bus_id": device.bus_id(),
        "serial": device.serial(),
        "memory_total": device.memory_total(),
        "memory_used": device.memory_used(),
        "memory_free": device.memory_free(),
        "gpu_utilization": device.gpu_utilization(),
        "memory_utilization": device.memory_utilization(),
        "power_usage": device.power_usage(),
        "power_limit": device.power_limit(),
        "temperature": device.temperature(),
        "sm_clock": device.sm_clock(),
        "memory_clock": device.memory_clock(),
        "compute_mode": device.compute_mode(),
        "persistence_mode": device.persistence_mode(),
        "mig_mode": device.mig_mode(),
        "processes": {p.pid: [p.type, p.gpu_memory()] for p in device.processes().values()},
        "driver": device.driver_version(),
    }
    for device in Device.all()
]))
"""


def show(nvml: Simulator) -> list[dict[str, object]]:
    shown = subprocess.run(
        [sys.executable, "-c", SHOW],
        env={**os.environ, **nvml.environment}, capture_output=True, text=True, timeout=60, check=False,
    )
    assert shown.returncode == 0, shown.stderr
    devices: list[dict[str, object]] = json.loads(shown.stdout)
    return devices


def test_nvitop_shows_the_simulated_devices(nvml: Simulator) -> None:
    nvml.play(Scenario((h100(0), h100(1))))
    nvml.change(
        1,
        utilization_percent=97,
        memory_utilization_percent=41,
        power_milliwatts=650_250,
        memory_used_bytes=40_000 * MIB,
        temperature_celsius=61,
        sm_clock_megahertz=1_980,
        compute_processes=(Process(os.getpid(), 39_000 * MIB),),
        graphics_processes=(Process(os.getppid(), 12 * MIB),),
    )
    idle, busy = show(nvml)
    assert idle == {
        "index": 0,
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": "GPU-78073210-c690-bb74-d538-000000000000",
        "bus_id": "00000000:17:00.0",
        "serial": "1650522003820",
        "memory_total": 81_559 * MIB,
        "memory_used": 1 * MIB,
        "memory_free": 81_007 * MIB,
        "gpu_utilization": 0,
        "memory_utilization": 0,
        "power_usage": 68_120,
        "power_limit": 700_000,
        "temperature": 25,
        "sm_clock": 345,
        "memory_clock": 2_619,
        "compute_mode": "Default",
        "persistence_mode": "Enabled",
        "mig_mode": "Disabled",
        "processes": {},
        "driver": "580.95.05",
    }
    assert busy == {
        **idle,
        "index": 1,
        "uuid": "GPU-78073210-c690-bb74-d538-000000000001",
        "bus_id": "00000000:18:00.0",
        "serial": "1650522003821",
        "memory_used": 40_000 * MIB,
        "memory_free": (81_559 - 551 - 40_000) * MIB,
        "gpu_utilization": 97,
        "memory_utilization": 41,
        "power_usage": 650_250,
        "temperature": 61,
        "sm_clock": 1_980,
        "processes": {str(os.getpid()): ["C", 39_000 * MIB], str(os.getppid()): ["G", 12 * MIB]},
    }
