"""A store that answers before it has things for good (VictoriaMetrics) is killed, and hangs: what was acknowledged
outlives that, and everything but the store goes on."""

import json
import os
import time
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGSTOP

import httpx
import pytest

from tests.collector.stores.influx.servers import victoria_metrics
from tests.e2e.programs import until
from tests.faults.audit import ENERGY, audit
from tests.faults.noticed import QUICK, idle
from tests.faults.programs import Scene
from tests.faults.table import LONG, cycles, record, row_of

HANG_S = 15.0 if LONG else 5.0
PACE = ("interval_s = 1.0", 'readers.enabled = ["nvidia"]')  # a busy machine may be late by more than 100 ms

pytestmark = [pytest.mark.server("cc"), pytest.mark.server("victoria-metrics")]


def in_victoria(url: str, board: str) -> list[int]:
    """The energy values of the board, each moment's once: VictoriaMetrics keeps a row that comes twice as two."""
    answer = httpx.get(
        f"{url}/api/v1/export", params={"match[]": f'device_{ENERGY}{{uuid="{board}"}}'}, trust_env=False, timeout=60
    )
    rows: set[tuple[int, float]] = set()
    for line in answer.raise_for_status().text.splitlines():
        series = json.loads(line)
        rows |= set(zip(series["timestamps"], series["values"], strict=True))
    return [round(joules * 1000) for _, joules in rows]


def test_kill_9_of_victoria_metrics_at_random_moments_loses_nothing_that_was_acknowledged(
    tmp_path: Path, nvml_library: Path
) -> None:
    chance = Random(8)
    kills = cycles(short=10, long=1_000)
    victoria = victoria_metrics(tmp_path)
    victoria.start()
    settings = ('store.kind = "influx"', f'store.influx.url = "{victoria.url}"')
    try:
        with Scene(tmp_path, nvml_library, *settings) as scene:
            acknowledged = scene.tap.acknowledged[scene.node.name]
            for number in range(kills):
                if number % 10 == 9:
                    enough = len(acknowledged)
                    until(lambda: len(acknowledged) > enough, "an acknowledgement")  # noqa: B023
                else:
                    time.sleep(chance.uniform(0.0, 2.0))  # the moment of the fault
                victoria.kill()
                victoria.start_at_once()
            scene.node.stop()
            made, owed, told = scene.node.made(), frozenset(scene.node.owed), frozenset(acknowledged)
            assert told <= set(in_victoria(victoria.url, scene.node.board))  # by one that was killed and came again
            scene.node.start()
            until(lambda: owed <= set(in_victoria(victoria.url, scene.node.board)), "what is owed comes after all")
            found = audit(scene.node.made(), in_victoria(victoria.url, scene.node.board), owed | told)
    finally:
        victoria.stop()
    record(row_of("kill -9 of VictoriaMetrics", kills, [found]))
    assert not found.lost
    assert not found.doubled
    assert not found.invented
    assert told
    assert len(made) > len(told)


def waiting_rows(scene: Scene) -> float:
    """What the collector says that waits for the store."""
    text = httpx.get(f"{scene.collector.url}/metrics", trust_env=False).text
    [line] = [line for line in text.splitlines() if line.startswith("fallow_writer_pending_rows ")]
    return float(line.split()[1])


def test_a_store_that_hangs_delays_acknowledgements_and_nothing_else(tmp_path: Path, nvml_library: Path) -> None:
    hangs = cycles(short=1, long=20)
    recovery_s = 0.0
    victoria = victoria_metrics(tmp_path)
    victoria.start()
    settings = ('store.kind = "influx"', f'store.influx.url = "{victoria.url}"', "store.influx.settle_s = 2")
    try:
        with Scene(tmp_path, nvml_library, *settings, *QUICK, pace=PACE) as scene:
            acknowledged = scene.tap.acknowledged[scene.node.name]
            until(lambda: idle(scene) == 1, "the board is idle")
            for _ in range(hangs):
                enough = len(acknowledged)
                until(lambda: len(acknowledged) > enough, "an acknowledgement")  # noqa: B023
                os.kill(victoria.pid, SIGSTOP)
                end = time.monotonic() + HANG_S
                while time.monotonic() < end:
                    assert idle(scene) == 1
                    time.sleep(0.1)
                before, behind = len(acknowledged), waiting_rows(scene)
                scene.node.wait_for_readings(3)
                until(lambda: waiting_rows(scene) > behind, "it says that the store is behind")  # noqa: B023
                assert len(acknowledged) == before
                os.kill(victoria.pid, SIGCONT)
                began = time.monotonic()
                until(lambda: len(acknowledged) > before, "acknowledgements go on")  # noqa: B023
                recovery_s = max(recovery_s, time.monotonic() - began)
            scene.node.stop()
            owed, told = frozenset(scene.node.owed), frozenset(acknowledged)
            scene.node.start()
            until(lambda: owed <= set(in_victoria(victoria.url, scene.node.board)), "what is owed comes after all")
            found = audit(scene.node.made(), in_victoria(victoria.url, scene.node.board), owed | told)
    finally:
        victoria.stop()
    record(row_of("SIGSTOP of VictoriaMetrics", hangs, [found], recovery_s))
    assert not found.lost
    assert not found.doubled
    assert not found.invented
