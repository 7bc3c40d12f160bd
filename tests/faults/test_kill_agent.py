"""kill -9 of agents: what their spools held is stored, once."""

from pathlib import Path
from random import Random

import pytest

from tests.faults.programs import Scene
from tests.faults.table import cycles, record, row_of

pytestmark = pytest.mark.server("cc")

NODES = 4


def test_kill_9_of_agents_at_random_moments_loses_nothing_that_was_owed(tmp_path: Path, nvml_library: Path) -> None:
    chance = Random(6)
    kills = cycles(short=12, long=1_000)
    with Scene(tmp_path, nvml_library, nodes=NODES) as scene:
        for number in range(kills):
            node = scene.nodes[number % NODES]
            node.wait_for_readings(chance.randrange(1, 20))
            node.kill()
            node.start()
        scene.settle()
        found = scene.verdicts()
    record(row_of("kill -9 of the agent", kills, found))
    for verdict, node in zip(found, scene.nodes, strict=True):
        assert not verdict.lost
        assert not verdict.doubled
        assert not verdict.invented
        assert len(node.owed) > kills // NODES
