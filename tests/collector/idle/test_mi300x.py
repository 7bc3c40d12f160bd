"""Real telemetry of eight MI300X in one node, one of them working: power and utilization are read at different moments,
and there is no list of processes. Its source: https://github.com/cmontemuino/amd-mi300x-ml-benchmarks
"""

from pathlib import Path

import pytest

from fallow_sim.recording import read
from fallow_sim.replay import POWER_LIMIT_WATTS, UNSUPPORTED, replay_reports
from tests.collector.watching import GIB, Watched, device

INTERVAL_S = 5.0
CARDS = [f"card{number}" for number in range(8)]
HOLDS = GIB  # an idle MI300X shows 0.28 GiB, a loaded one 16 and more


@pytest.mark.parametrize("name", ["mi300x_8gpu_bs1.csv.gz", "mi300x_8gpu_bs8.csv.gz"])
def test_a_card_that_holds_memory_is_never_idle_and_the_others_are_throughout(shared_data: Path, name: str) -> None:
    raw = list(read(shared_data / name))
    start = raw[0].time
    watched = Watched(
        *[device(card, vendor="amd", model="AMD Instinct MI300X", unsupported=UNSUPPORTED) for card in CARDS],
        interval_s=INTERVAL_S,
    )
    began = watched.now
    seen = 0
    held_at = -1e9  # when the table last said that card0 holds something
    idle_of_card0 = paused = 0
    for moment in replay_reports(shared_data / name, INTERVAL_S):
        while seen < len(raw) and raw[seen].time <= moment.time:
            if raw[seen].readings.get("card0", {}).get("memory_usage_bytes", 0.0) > HOLDS:
                held_at = raw[seen].time
            seen += 1
        watched.now = began + moment.time - start
        watched.says(*[
            {**moment.readings.get(card, {}), "power_limit_watts": POWER_LIMIT_WATTS} for card in CARDS
        ])
        if moment.time - held_at < 60:
            assert watched.phase(0) != "idle", f"card0 held memory {moment.time - held_at} s before {moment.time}"
            paused += moment.readings["card0"].get("utilization_ratio") == 0.0
        idle_of_card0 += watched.phase(0) == "idle"
        if moment.time - start > 65:
            for row in range(1, 8):
                assert (watched.phase(row), watched.is_low(row)) == ("idle", True), (CARDS[row], moment.time)
    assert paused > 50, "it loads and pauses at 0 % often, or this test would show nothing"
    assert idle_of_card0 > 5, "it lets go in between, and is confirmed"
