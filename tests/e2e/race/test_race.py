"""Two hundred clients race for devices for a minute, and the collector is killed twice in between."""

import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.programs import Collector, Sim, environment, until
from tests.e2e.race.judge import judge

CLIENTS = 200
RACE_S = 60.0
KILLS_S = (18.0, 38.0)
QUICK = (
    "idle.confirm_s = 3.0", "idle.confirm_readings = 3", "idle.confirm_after_release_s = 1.0",
)
"""Windows as short as the simulated nodes' interval allows, so that devices change hands often."""


def test_no_device_is_owned_twice_and_tokens_rise_whatever_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "race.jsonl"
    with Collector(tmp_path, *QUICK) as collector, \
            Sim(tmp_path, collector.grpc, "--nodes", "32", "--devices", "8", "--seed", "3"):
        until(lambda: sum(device.phase == "idle" for device in collector.devices().values()) >= 20, "devices are idle")
        racing = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("clients.py")), collector.url, str(CLIENTS), str(RACE_S),
             str(log)],
            env=environment(), stdin=subprocess.DEVNULL,
        )
        try:
            began = time.monotonic()
            for at in KILLS_S:
                time.sleep(max(0.0, began + at - time.monotonic()))
                collector.kill()
                collector.start()
            assert racing.wait(RACE_S + 60) == 0
        finally:
            racing.kill()
            racing.wait()
        verdict = judge(log.read_text(encoding="utf-8").splitlines())
    print(f"{verdict.leases} leases, slowest answer {verdict.slowest_s:.1f} s; {dict(verdict.answers.most_common())}")
    assert verdict.faults == []
    assert verdict.leases > 50, "the race was no race"  # a quiet machine makes many hundreds
    assert not any(kind.split()[1] == "500" for kind in verdict.answers)
