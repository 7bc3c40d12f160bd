"""kill -9 of the store, one that answers before it has things for good: what was acknowledged outlives it."""

import json
import time
from pathlib import Path
from random import Random

import httpx
import pytest

from tests.collector.stores.influx.servers import victoria_metrics
from tests.e2e.programs import until
from tests.faults.audit import ENERGY, audit
from tests.faults.programs import Scene
from tests.faults.table import cycles, record, row_of

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
                victoria.start()
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
