"""An outage of the collector that is too long for the spool: what must go is counted, and what is left comes behind the
live reports, at a bounded rate."""

import sqlite3
from contextlib import closing
from itertools import groupby
from pathlib import Path

import pytest

from fallow_agent.uplink.batches import MAX_BYTES
from fallow_agent.uplink.protocol import BACKLOG_BYTES_PER_S
from fallow_proto.states import EventKind
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.e2e.programs import until
from tests.faults.programs import Scene
from tests.faults.table import Row, cycles, record
from tests.faults.tap import Passed
from tests.simulators.nvml.scenario import Event

pytestmark = pytest.mark.server("cc")

SMALL = ("interval_s = 0.2", 'readers.enabled = ["nvidia"]', "spool.max_mib = 2")
SHORT_EVIDENCE = ("idle.confirm_s = 2", "idle.confirm_readings = 3", "idle.evidence_s = 5")
XID = 8
BOARDS = 64
"""Their reports fill two mebibytes in three quarters of a minute."""


def lane(passed: list[Passed], which: int) -> list[Passed]:
    return [each for each in passed if each.lane == which]


def test_what_a_full_spool_drops_is_counted_and_the_rest_comes_behind_live_reports(
    tmp_path: Path, nvml_library: Path
) -> None:
    away = cycles(short=240, long=1500)
    with Scene(tmp_path, nvml_library, *SHORT_EVIDENCE, pace=SMALL, boards=BOARDS) as scene:
        node = scene.node
        until(lambda: scene.tap.acknowledged[node.name], "something is acknowledged")
        scene.collector.kill()
        node.driver.happen(Event(XID, 43, node.board))  # older than all that will be left of the readings
        node.wait_for_readings(away)
        before = len(scene.tap.passed)
        late, newest = node.made()[-away // 4], max(node.made())
        scene.collector.start()
        until(lambda: max(scene.tap.acknowledged[node.name]) > newest, "live reports are acknowledged")
        until(lambda: late in scene.tap.acknowledged[node.name], "and the backlog")
        known = scene.collector.node(node.name)
        assert known is not None
        scene.settle()
        [verdict] = scene.verdicts()
    after = scene.tap.passed[before:]
    live, backlog = lane(after, pb.LANE_JUDGED), lane(after, pb.LANE_BACKLOG)
    record(Row("spool over its limits", 1, verdict.made, verdict.stored, len(verdict.lost), len(verdict.doubled)))
    assert not verdict.lost
    assert not verdict.doubled
    assert known.spool_dropped == len(gap(node.made(), scene.readings(node)))
    assert known.spool_dropped > away // 10
    assert live[0].at < backlog[0].at
    assert all(each.size < 2 * MAX_BYTES for each in after)
    # Of them all, since on a busy machine two may reach the relay together that did not leave together.
    paced_s = sum(each.size for each in backlog[:-1]) / BACKLOG_BYTES_PER_S
    assert paced_s > 0.5
    assert backlog[-1].at - backlog[0].at > paced_s / 2
    with closing(sqlite3.connect(tmp_path / "collector" / "state.sqlite")) as state:
        kinds = {kind for (kind,) in state.execute("SELECT kind FROM events WHERE node = ?", [node.name])}
    assert {EventKind.XID, EventKind.SPOOL_DROPPED} <= kinds


def gap(made: list[int], stored: set[int]) -> list[int]:
    """The longest run of readings that are not stored."""
    runs = [list(run) for is_there, run in groupby(made, stored.__contains__) if not is_there]
    return max(runs, key=len)
