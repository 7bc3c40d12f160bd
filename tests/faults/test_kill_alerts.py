"""kill -9 of the collector at every named point of the path of alerts: each alert is told, and a repeat is known by its
id."""

from pathlib import Path
from random import Random

from fallow_proto.failpoint import Point
from tests.e2e.hook import Hook
from tests.e2e.programs import Sim, until
from tests.e2e.telling import collector, connected, ids
from tests.faults.programs import start_to_be_killed, wait_for_its_kill
from tests.faults.table import Row, cycles, record

NODES = 6
POINTS = (
    Point.ALERTS_BEFORE_COMMIT, Point.ALERTS_AFTER_COMMIT, Point.ALERTS_BEFORE_SEND, Point.ALERTS_AFTER_SEND,
)


def test_a_collector_killed_at_any_point_tells_of_every_alert_and_a_repeat_is_known_by_its_id(tmp_path: Path) -> None:
    chance = Random(14)
    rounds = cycles(short=1, long=50)
    with Hook() as ops, collector(tmp_path, ops=ops) as running:
        sim = Sim(tmp_path, running.grpc, "--nodes", str(NODES), "--devices", "1")
        sim.start()
        try:
            until(lambda: connected(running, NODES), "all nodes are connected")
            sim.kill()
            until(lambda: list(ops.standing().values()) == NODES * ["firing"], "each node is told of")
            sim.start()  # they are on disk by now, so that a collector which is killed knows whom it misses
            until(lambda: list(ops.standing().values()) == NODES * ["resolved"], "of each the end is told")
            for number in range(rounds):
                lost = number % 2 == 0
                running.kill()
                sim.kill() if lost else sim.start()
                for point in POINTS:
                    start_to_be_killed(running, point, chance.randrange(1, NODES // 2))
                    wait_for_its_kill(running)
                running.start()
                expected = NODES * ["firing" if lost else "resolved"]
                until(lambda: list(ops.standing().values()) == expected, "each node is told of")  # noqa: B023
        finally:
            if sim.is_running:
                sim.kill()
    identities = ids(ops)
    told = len({(node, starts) for node, _, starts in identities})
    repeats = len(ops.told) - len({one.identity for one in ops.told})
    record(Row("kill -9 of the collector while it tells", rounds * len(POINTS), made=told, stored=told, doubled=0))
    assert all(len(found) == 1 for found in identities.values()), identities
    assert repeats
