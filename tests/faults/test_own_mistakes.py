"""A mistake in one of the collector's own threads: it ends, and systemd starts it again; it never goes on without."""

import sys
from pathlib import Path

import pytest

from tests.faults import failing_writer
from tests.faults.programs import Scene
from tests.faults.table import record, row_of

pytestmark = pytest.mark.server("cc")


def test_a_writer_that_dies_of_a_mistake_takes_the_collector_with_it_and_nothing_is_lost(
    tmp_path: Path, nvml_library: Path
) -> None:
    scene = Scene(tmp_path, nvml_library)
    scene.collector.under = (sys.executable, failing_writer.__file__)
    with scene:
        assert scene.collector.ended() == 1, scene.collector.tail()
        log = scene.collector.log.read_text()
        scene.collector.under = ()
        scene.collector.start()
        scene.settle()
        found = scene.verdicts()
    record(row_of("a thread of the collector dies", 1, found))
    assert "BUG: a part of the collector ended part=writer" in log
    assert "a mistake in the writer's thread" in log
    [verdict] = found
    assert not verdict.lost
    assert not verdict.doubled
    assert not verdict.invented
