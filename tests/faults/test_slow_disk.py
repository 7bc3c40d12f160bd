"""Disks that take seconds for a sync: readings, judgement and watchdogs go on, and only acknowledgements wait."""

import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from fallow_client.client import Client
from tests.e2e.programs import until
from tests.faults.falter import Call, Falter, build, environment
from tests.faults.heartbeat import Heartbeat
from tests.faults.noticed import QUICK, idle
from tests.faults.programs import Scene
from tests.faults.table import cycles, record, row_of
from tests.simulators.nvml.scenario import h100

pytestmark = pytest.mark.server("cc")

SYNC_S = 5.0
PACE = ("interval_s = 0.5", 'readers.enabled = ["nvidia"]')


def test_a_disk_that_takes_five_seconds_a_sync_delays_acknowledgements_and_nothing_else(
    tmp_path: Path, nvml_library: Path
) -> None:
    syncs = cycles(short=2, long=60)
    falter = Falter(tmp_path / "plan")
    slow = environment(build(tmp_path), tmp_path / "plan")
    scene = Scene(tmp_path, nvml_library, *QUICK, pace=PACE)
    with ExitStack() as stack:
        hearts = [stack.enter_context(Heartbeat(tmp_path / f"notify-{number}")) for number in range(2)]
        for program, heart in zip((scene.collector, scene.node.agent), hearts, strict=True):
            program.also = {**slow, **heart.environment}
        stack.enter_context(scene)
        until(lambda: idle(scene) == 1 and scene.tap.acknowledged["n0"], "the board is idle, and reports are stored")
        made = len(scene.node.made())
        acknowledged = len(scene.tap.acknowledged["n0"])
        falter.plan(Call.FSYNC | Call.FDATASYNC, tmp_path, delay_s=SYNC_S)
        for heart in hearts:
            heart.begin()
        end = time.monotonic() + syncs * SYNC_S
        with Client(scene.collector.url) as client:
            while time.monotonic() < end:
                answer = client.capacity()
                assert [group.idle for group in answer.groups] == [1]
                assert answer.max_age_ms is not None
                assert answer.max_age_ms < SYNC_S * 1000
                time.sleep(0.1)
        assert falter.come >= 2
        read = scene.node.made()[made:]
        assert max(seconds_between(read)) < SYNC_S
        assert [heart.silence_s < SYNC_S for heart in hearts] == [True, True]
        until(lambda: len(scene.tap.acknowledged["n0"]) > acknowledged, "an acknowledgement, in its own time")
        falter.end()
        scene.settle()
        found = scene.verdicts()
    record(row_of("disks take 5 s a sync", syncs, found))
    [verdict] = found
    assert not verdict.lost
    assert not verdict.doubled
    assert not verdict.invented


def seconds_between(read: list[int]) -> list[float]:
    """The board draws the same all the time, so the energy counter is its clock."""
    return [(after - before) / h100(0).power_milliwatts for before, after in pairwise(read)]
