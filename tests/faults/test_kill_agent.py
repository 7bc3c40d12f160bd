"""kill -9 of agents: what was acknowledged or in their spools is stored, once, and they are soon back."""

import time
from functools import partial
from pathlib import Path
from random import Random

import pytest

from fallow_proto.v1 import telemetry_pb2 as pb
from tests.e2e.programs import until
from tests.faults.programs import Node, Scene
from tests.faults.table import cycles, record, row_of

pytestmark = pytest.mark.server("cc")

NODES = 4


def test_kill_9_of_agents_at_random_moments_loses_nothing_that_was_owed(tmp_path: Path, nvml_library: Path) -> None:
    chance = Random(6)
    rounds = cycles(short=3, long=250)
    longest_s = 0.0
    with Scene(tmp_path, nvml_library, nodes=NODES) as scene:
        for _ in range(rounds):
            for node in chance.sample(scene.nodes, NODES):
                node.wait_for_readings(chance.randrange(1, 10))
                node.kill()
            seen = len(scene.tap.passed)
            began = time.monotonic()
            for node in scene.nodes:
                node.start()
            for node in scene.nodes:
                until(partial(has_reported, scene, node, seen), "a live report")
            longest_s = max(longest_s, time.monotonic() - began)
        scene.settle()
        found = scene.verdicts()
    record(row_of("kill -9 of the agent", rounds * NODES, found, longest_s))
    for verdict, node in zip(found, scene.nodes, strict=True):
        assert not verdict.lost
        assert not verdict.doubled
        assert not verdict.invented
        assert len(scene.tap.acknowledged[node.name]) > rounds


def has_reported(scene: Scene, node: Node, seen: int) -> bool:
    return any(each.node == node.name and each.lane == pb.LANE_JUDGED for each in scene.tap.passed[seen:])
