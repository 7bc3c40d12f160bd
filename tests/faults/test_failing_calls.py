"""Every system call on the durable files of collector and agent that fails once: nothing that was kept is lost or set
aside as damaged, and all goes on once the fault has passed."""

import errno
import json
import os
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from random import Random

import pytest

from tests.e2e.programs import Program, until
from tests.faults import doubted, faltering, hurried
from tests.faults.falter import Call, Falter, build, environment
from tests.faults.faltering import CASES
from tests.faults.programs import Scene
from tests.faults.table import LONG, Row, cycles, record, row_of

pytestmark = pytest.mark.server("cc")

ROOT = Path(__file__).parents[2]
SQLITE = (Call.FDATASYNC, Call.PWRITE, Call.OPEN, Call.READ)
DUCKDB = (Call.FSYNC, Call.FDATASYNC, Call.WRITE, Call.OPEN, Call.READ, Call.UNLINK)
PARQUET = (Call.FSYNC, Call.WRITE, Call.OPEN, Call.READ, Call.RENAME, Call.UNLINK)
PLACES = [
    *product(("state.sqlite", "leases.sqlite", "alerts.sqlite", "store/catalogue.sqlite"), SQLITE),
    *product(("store/hot",), DUCKDB), *product(("store/parquet",), PARQUET),
]
WAIT_S = 4.0
"""For a call that may never come, such as the second one to remove a file."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("falter"))


@pytest.mark.parametrize("case", [name for name in CASES if LONG or name != "store used"])
def test_a_file_is_whole_after_any_call_on_it_has_failed(case: str, library: Path, tmp_path: Path) -> None:
    Falter(tmp_path / "plan")
    done = subprocess.run(
        [sys.executable, "-m", faltering.__name__, tmp_path / "plan", tmp_path, case, "long" if LONG else "short"],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment(library, tmp_path / "plan"),
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    record(Row(f"a failing call: {case}", len(found)))
    assert [each for each in found if each["missing"]] == []
    assert {each["call"] for each in found} >= {"FDATASYNC", "OPEN", "READ", "PWRITE"}


def test_a_commit_that_failed_and_is_on_the_disk_is_not_made_twice(library: Path, tmp_path: Path) -> None:
    Falter(tmp_path / "plan")
    done = subprocess.run(
        [sys.executable, "-m", doubted.__name__, tmp_path / "plan", tmp_path / "store"],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment(library, tmp_path / "plan"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "fsync failed" in found.pop("told")
    assert found == {"held": 2, "committed": True}


def test_any_failing_call_on_the_collector_s_files_loses_nothing_that_was_owed(
    library: Path, tmp_path: Path, nvml_library: Path
) -> None:
    chance = Random(51)
    rounds = cycles(short=4, long=400)
    falter = Falter(tmp_path / "plan")
    scene = Scene(tmp_path, nvml_library, "store.embedded.min_free_gib = 0")
    scene.collector.under = (sys.executable, hurried.__file__)
    scene.collector.also = environment(library, tmp_path / "plan")
    hits = 0
    recovery_s = 0.0
    with scene:
        for _ in range(rounds):
            file, call = chance.choice(PLACES)
            at_start = chance.random() < 0.5
            if at_start:
                scene.collector.kill()
            error, number = chance.choice((errno.EIO, errno.ENOSPC)), chance.choice((1, 2, 3))
            falter.plan(call, scene.store.parent / file, error, number)
            if at_start:
                Program.start(scene.collector)
            until_failed(falter)
            hits += falter.failed
            falter.end()
            recovery_s = max(recovery_s, wait_until_well(scene))
        scene.settle()
        found = scene.verdicts()
        shown = scene.collector.log.read_text()
    record(row_of("a call on the collector's files fails", hits, found, recovery_s))
    assert hits
    assert "damaged" not in shown
    [verdict] = found
    assert not verdict.lost
    assert not verdict.doubled
    assert not verdict.invented


def until_failed(falter: Falter) -> None:
    """Or until it seems that it never will."""
    deadline = time.monotonic() + WAIT_S
    while not falter.failed and time.monotonic() < deadline:
        time.sleep(0.02)


def wait_until_well(scene: Scene) -> float:
    """Seconds until it acknowledges again; one that has ended is started, as systemd does."""
    began = time.monotonic()
    before = len(scene.tap.acknowledged[scene.node.name])

    def is_well() -> bool:
        if not scene.collector.is_running:
            assert "cannot start: " in scene.collector.tail()
            Program.start(scene.collector)
        return len(scene.tap.acknowledged[scene.node.name]) > before

    until(is_well, "the collector acknowledges again")
    return time.monotonic() - began
