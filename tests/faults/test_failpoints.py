"""kill -9 of agent and collector at every named point of the path of the data, and the audit of what they had."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random
from signal import SIGKILL

import pytest

from fallow_proto.failpoint import VARIABLE, Point
from tests.collector.stores.contract import GPU, NODE, ask
from tests.collector.stores.embedded import writer
from tests.collector.stores.embedded.conftest import Place
from tests.faults.programs import Scene, start_to_be_killed, wait_for_its_kill
from tests.faults.table import cycles, record, row_of

pytestmark = pytest.mark.server("cc")

AGENT = (
    Point.SPOOL_BEFORE_COMMIT, Point.SPOOL_BEFORE_TRIM, Point.SPOOL_AFTER_TRIM, Point.SPOOL_AFTER_COMMIT,
    Point.UPLINK_BEFORE_SEND, Point.UPLINK_AFTER_SEND, Point.UPLINK_AFTER_RECEIVE,
)
COLLECTOR = (
    Point.WRITER_BEFORE_WRITE, Point.STORE_BEFORE_COMMIT, Point.STORE_AFTER_COMMIT, Point.WRITER_AFTER_WRITE,
    Point.INGEST_BEFORE_SEND, Point.INGEST_AFTER_SEND, Point.EVENTS_AFTER_COMMIT, Point.SLICE_AFTER_BEGIN,
)
SELDOM = {Point.EVENTS_AFTER_COMMIT, Point.SLICE_AFTER_BEGIN}  # once in a quiet life of a collector
UPKEEP = (Point.SLICE_AFTER_WRITE, Point.SLICE_AFTER_CLOSE, Point.HOUR_AFTER_WRITE, Point.HOUR_AFTER_REPLACE)
LEASES = (Point.LEASES_BEFORE_COMMIT, Point.LEASES_AFTER_COMMIT)  # in test_kill_leases.py
ALERTS = (  # in test_kill_alerts.py
    Point.ALERTS_BEFORE_COMMIT, Point.ALERTS_AFTER_COMMIT, Point.ALERTS_BEFORE_SEND, Point.ALERTS_AFTER_SEND,
)

ROOT = Path(__file__).parents[2]


def test_every_point_has_its_test() -> None:
    assert sorted([*AGENT, *COLLECTOR, *UPKEEP, *LEASES, *ALERTS]) == sorted(Point)


def test_a_misspelt_point_is_refused_at_the_start() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import fallow_proto.failpoint"], env=os.environ | {VARIABLE: "spool.after_comit"},
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 1
    assert "'spool.after_comit' is not a valid Point" in done.stderr


def test_an_agent_killed_at_any_point_loses_nothing_that_was_owed(tmp_path: Path, nvml_library: Path) -> None:
    chance = Random(11)
    rounds = cycles(short=1, long=20)
    with Scene(tmp_path, nvml_library, nodes=len(AGENT)) as scene:
        for _ in range(rounds):
            for node, point in zip(scene.nodes, AGENT, strict=True):
                node.kill()
                start_to_be_killed(node.agent, point, chance.randrange(2, 5))
            for node in scene.nodes:
                wait_for_its_kill(node.agent)
                node.note_owed()
                node.start()
        scene.settle()
        found = scene.verdicts()
    record(row_of("kill -9 of the agent at failpoints", rounds * len(AGENT), found))
    for verdict in found:
        assert not verdict.lost
        assert not verdict.doubled
        assert not verdict.invented
    assert any(scene.tap.acknowledged.values())


def test_a_collector_killed_at_any_point_loses_nothing_that_was_owed(tmp_path: Path, nvml_library: Path) -> None:
    chance = Random(12)
    rounds = cycles(short=1, long=20)
    with Scene(tmp_path, nvml_library) as scene:
        for _ in range(rounds):
            for point in COLLECTOR:
                if scene.collector.is_running:
                    scene.collector.kill()
                scene.node.kill()  # or its patience with a collector that is killed all the time would be the test's
                times = 1 if point in SELDOM else chance.randrange(1, 4)
                start_to_be_killed(scene.collector, point, times)
                scene.node.start()
                wait_for_its_kill(scene.collector)
        scene.collector.start()
        scene.settle()
        found = scene.verdicts()
    record(row_of("kill -9 of the collector at failpoints", rounds * len(COLLECTOR), found))
    [verdict] = found
    assert not verdict.lost
    assert not verdict.doubled
    assert not verdict.invented
    assert len(scene.tap.acknowledged[scene.node.name]) > len(COLLECTOR)


@pytest.mark.parametrize("point", UPKEEP)
def test_a_store_killed_at_any_point_of_its_upkeep_loses_and_doubles_no_row(point: Point, tmp_path: Path) -> None:
    place = Place(tmp_path / "store")
    done = subprocess.run(
        [sys.executable, "-m", writer.__name__, str(place.directory), "0"], capture_output=True, text=True, check=False,
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT), VARIABLE: f"{point}:2"}, timeout=120,
    )
    assert done.returncode == -SIGKILL, done.stderr
    acknowledged = int(done.stdout.split()[-1])
    store, committed = place.open()
    ((first, last),) = committed[NODE]
    assert first == 0
    assert last in (acknowledged, acknowledged + 1)
    for uuid in (GPU.uuid, writer.OTHER.uuid):
        assert store.history(ask("power_watts", end=1e9, uuid=uuid)).values[:, 0].tolist() == list(range(last + 1))
    place.close()
