"""kill -9 of agents: what was acknowledged or in their spools is stored, once, and they are soon back."""

import time
from pathlib import Path
from random import Random

import pytest

from tests.e2e.programs import until
from tests.faults.programs import Scene
from tests.faults.table import cycles, record, row_of

pytestmark = pytest.mark.server("cc")

NODES = 4


def test_kill_9_of_agents_at_random_moments_loses_nothing_that_was_owed(tmp_path: Path, nvml_library: Path) -> None:
    chance = Random(6)
    kills = cycles(short=12, long=1_000)
    longest_s = 0.0
    with Scene(tmp_path, nvml_library, nodes=NODES) as scene:
        for number in range(kills):
            node = scene.nodes[number % NODES]
            node.wait_for_readings(chance.randrange(1, 20))
            node.kill()
            seen = len(scene.tap.passed)
            began = time.monotonic()
            node.start()
            until(lambda: any(each.node == node.name for each in scene.tap.passed[seen:]), "a live report")  # noqa: B023
            longest_s = max(longest_s, time.monotonic() - began)
        scene.settle()
        found = scene.verdicts()
    record(row_of("kill -9 of the agent", kills, found, longest_s))
    for verdict, node in zip(found, scene.nodes, strict=True):
        assert not verdict.lost
        assert not verdict.doubled
        assert not verdict.invented
        assert len(scene.tap.acknowledged[node.name]) > kills // NODES
