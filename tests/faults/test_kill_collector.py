"""kill -9 of the collector: what it acknowledged is in its store, once, and agents bring the rest."""

import time
from pathlib import Path
from random import Random

import pytest

from tests.e2e.programs import Program, until
from tests.faults.programs import Node, Scene, dialling_at_once
from tests.faults.table import cycles, record, row_of

pytestmark = pytest.mark.server("cc")

QUICK = ("idle.confirm_s = 2", "idle.confirm_readings = 3")


def is_judged(scene: Scene, node: Node) -> bool:
    device = scene.collector.devices().get(node.board)
    return device is not None and device.freshness == "live" and device.phase != "unknown"


def test_kill_9_of_the_collector_at_random_moments_loses_nothing_that_was_owed(
    tmp_path: Path, nvml_library: Path
) -> None:
    chance = Random(7)
    kills = cycles(short=10, long=1_000)
    with dialling_at_once(Scene(tmp_path, nvml_library, *QUICK, nodes=2)) as scene:
        for number in range(kills):
            if number % 5 == 4:  # it lives for long enough to acknowledge something; else it may not even be ready
                enough = len(scene.tap.acknowledged["n0"])
                until(lambda: len(scene.tap.acknowledged["n0"]) > enough, "an acknowledgement")  # noqa: B023
            else:
                time.sleep(chance.uniform(0.0, 2.0))  # the moment of the fault
            scene.collector.kill()
            Program.start(scene.collector)
        began = time.monotonic()
        scene.collector.kill()
        scene.collector.start()
        until(lambda: all(is_judged(scene, node) for node in scene.nodes), "all are judged again")
        judged_s = time.monotonic() - began
        scene.settle()
        found = scene.verdicts()
    record(row_of("kill -9 of the collector", kills + 1, found, judged_s))
    for verdict in found:
        assert not verdict.lost
        assert not verdict.doubled
        assert not verdict.invented
    assert all(len(each) > kills for each in scene.tap.acknowledged.values())
    assert scene.tap.streams > kills // 5
