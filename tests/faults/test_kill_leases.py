"""kill -9 of the collector while it commits a lease: whoever was answered has it, whoever was not can ask again."""

from pathlib import Path
from random import Random

import pytest

from fallow_client import Client, Request
from fallow_client.errors import Unreachable
from fallow_proto.failpoint import Point
from tests.e2e.programs import until
from tests.faults.programs import Scene, start_to_be_killed, wait_for_its_kill
from tests.faults.table import Row, cycles, record

pytestmark = pytest.mark.server("cc")

QUICK = ("idle.confirm_s = 2", "idle.confirm_readings = 3", "idle.confirm_after_release_s = 1")
ONE = Request(count=1, vendor=["nvidia"])
POINTS = (Point.LEASES_BEFORE_COMMIT, Point.LEASES_AFTER_COMMIT)
HOLDER = "tests"


def is_offered(scene: Scene) -> bool:
    try:
        with Client(scene.collector.url) as fallow:
            return fallow.fit(ONE).fits
    except Unreachable:
        return not scene.collector.is_running


def reserve_until_killed(scene: Scene, key: str) -> tuple[str, int] | None:
    """Lease and token, if the collector answered before it was killed at its next commits."""
    with Client(scene.collector.url) as fallow:
        try:
            lease = fallow.reserve(ONE, holder=HOLDER, key=key)
        except Unreachable:
            return None
        try:
            while True:
                fallow.renew(lease.lease_id, lease.fencing_token, holder=HOLDER)
        except Unreachable:
            return lease.lease_id, lease.fencing_token


def test_a_lease_that_was_answered_survives_and_one_that_was_not_is_made_once(
    tmp_path: Path, nvml_library: Path
) -> None:
    chance = Random(13)
    rounds = cycles(short=2, long=100)
    tokens = []
    answered = unanswered = 0
    with Scene(tmp_path, nvml_library, *QUICK) as scene:
        for number in range(rounds):
            until(lambda: is_offered(scene), "the board is offered")
            scene.collector.kill()
            # The clock's own commits come in between, every 10 s.
            start_to_be_killed(scene.collector, POINTS[number % 2], 1 if number < 2 else chance.randrange(1, 5))
            until(lambda: is_offered(scene), "the board is offered again, or the collector is gone")
            before = reserve_until_killed(scene, f"round {number}")
            wait_for_its_kill(scene.collector)
            scene.node.kill()  # or it would have patience with a collector that is so often gone
            scene.collector.start()
            scene.node.start()
            with Client(scene.collector.url) as fallow:
                standing = [lease.lease_id for lease in fallow.leases(HOLDER).items if lease.state == "leased"]
                if before is not None:
                    assert standing == [before[0]]
                until(lambda: standing or is_offered(scene), "the board is offered")  # noqa: B023
                again = fallow.reserve(ONE, holder=HOLDER, key=f"round {number}")
                assert before in (None, (again.lease_id, again.fencing_token))
                assert standing in ([], [again.lease_id])
                tokens.append(again.fencing_token)
                fallow.release(again.lease_id, again.fencing_token, holder=HOLDER)
            answered += before is not None
            unanswered += before is None
    record(Row("kill -9 of the collector in mid lease", rounds, made=rounds, stored=len(tokens), lost=0, doubled=0))
    assert tokens == sorted(set(tokens))
    assert unanswered
