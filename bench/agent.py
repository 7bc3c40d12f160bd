"""The agent on a simulated node of 8 NVIDIA devices: CPU, memory, calls."""

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench.processes import command, cores, cost, running
from bench.servers import Collector
from tests.simulators.nvml.scenario import Scenario, h100
from tests.simulators.nvml.simulator import Simulator, build

DEVICES = 8
SETTLE_S = 15.0
INTERVAL_S = 1.0


def run(seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="fallow-bench-") as name:
        folder = Path(name)
        simulator = Simulator(build(folder), folder / "scenario")
        simulator.play(Scenario(devices=tuple(
            replace(h100(number), utilization_percent=97, power_milliwatts=500_000) for number in range(DEVICES)
        )))
        collector = Collector(folder, {})
        config = folder / "agent.toml"
        config.write_text(
            f'collector = "{collector.grpc}"\ninterval_s = {INTERVAL_S}\n[readers]\nenabled = ["nvidia", "host"]\n'
            f'run_dir = "{folder / "run"}"\n[spool]\ndir = "{folder / "spool"}"\n'
        )
        environment = {**os.environ, **simulator.environment}
        with (
            collector.running(),
            running([command("fallow-agent"), "--config", str(config)], folder / "agent.log", environment) as agent,
        ):
            time.sleep(SETTLE_S)
            before, calls = cost(agent), simulator.calls()
            time.sleep(seconds)
            after, later = cost(agent), simulator.calls()
            processes = 1 + len(agent.children(recursive=True))
    ticks = (after.at - before.at) / INTERVAL_S
    made = {name: count - calls.get(name, 0) for name, count in later.items()}
    print(f"\nagent: {DEVICES} simulated devices and the host's CPUs at {1 / INTERVAL_S:.0f} Hz, {seconds:.0f} s")
    print(f"  {100 * cores(before, after):.2f} % of a core over {processes} processes (budget 0.5)")
    print(f"  {after.pss_bytes / 2**20:.1f} MiB proportional set size (budget 60), "
          f"{(after.pss_bytes - before.pss_bytes) / 2**10:+.0f} KiB in that time")
    a_tick = sum(made.values()) / ticks
    print(f"  {a_tick:.1f} calls of NVML a tick, {a_tick / DEVICES:.1f} a device:")
    for name, count in sorted(made.items(), key=lambda item: -item[1]):
        if count:
            print(f"    {count / ticks:7.2f} {name}")
