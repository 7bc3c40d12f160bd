"""Wall clocks that are set by an hour while everything runs: what is judged stays so, and nothing is lost."""

from pathlib import Path

import pytest

from tests.e2e.programs import Program, until
from tests.faults.audit import in_store
from tests.faults.noticed import QUICK, idle, is_back, losses
from tests.faults.programs import Scene
from tests.faults.table import cycles, record, row_of

pytestmark = [pytest.mark.server("cc"), pytest.mark.server("faketime")]

HOUR_S = 3600
PACE = ("interval_s = 1.0", 'readers.enabled = ["nvidia"]')  # a busy machine may be late by more than 100 ms
LIBRARY = "/usr/$LIB/faketime/libfaketimeMT.so.1"


class WallClock:
    """The wall clock of one program, which is started after this; the clocks that only run on are the machine's."""

    def __init__(self, folder: Path, program: Program) -> None:
        self._file = folder / f"{program.name}.clock"
        self.set_by(0)
        program.also = {
            "LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set_by(self, seconds: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.rename(self._file)


def test_clocks_set_by_an_hour_on_either_side_change_no_judgement_and_lose_nothing(
    tmp_path: Path, nvml_library: Path
) -> None:
    scene = Scene(tmp_path, nvml_library, *QUICK, pace=PACE)
    of_agent, of_collector = WallClock(tmp_path, scene.node.agent), WallClock(tmp_path, scene.collector)
    steps = [
        (of_agent, HOUR_S), (of_agent, -HOUR_S), (of_agent, 0),
        (of_collector, HOUR_S), (of_collector, -HOUR_S), (of_collector, 0),
    ]
    rounds = cycles(short=1, long=50)
    refused: set[int] = set()
    with scene:
        until(lambda: idle(scene) == 1, "the board is idle")
        for clock, seconds in steps * rounds:
            clock.set_by(seconds)
            before = len(scene.node.made())
            while len(scene.node.made()) < before + 3:
                assert idle(scene) == 1, scene.collector.fallow("explain", scene.node.board)
            assert is_back(scene, scene.node)
            if (clock, seconds) == (of_collector, -HOUR_S):  # what comes is of its future, and refused
                clock.set_by(0)
                refused |= set(scene.node.made()[max(0, before - 1):])
        for _ in range(cycles(short=0, long=1)):
            of_agent.set_by(-HOUR_S)
            log = scene.node.agent.log
            until(lambda: "wall clock was set" in log.read_text(), "the agent begins another epoch")  # noqa: B023
            until(lambda: idle(scene) == 1, "the board is idle in it, too")
        assert losses(scene.node) == 0
        read = scene.node.made()[:-2]  # what is being read while the agent is killed may be in no report
        scene.node.kill()  # libfaketime lets a sleep fail, and the agent could not stop
        scene.node.agent.also = {}
        scene.node.start()
        scene.node.wait_for_readings(1)
        scene.settle()
        [found] = scene.verdicts()
        told = scene.node.agent.log.read_text()
    record(row_of("wall clock set by an hour", rounds * len(steps), [found]))
    assert not found.lost
    assert not found.doubled
    assert not found.invented
    first = min(in_store(scene.store, scene.node.board))
    missing = {value for value in found.never_owed & set(read) if value > first}
    assert len(missing - refused) <= 2  # late: superseded by the next
    assert missing & refused
    assert "by the collector's clock, expected" in told
