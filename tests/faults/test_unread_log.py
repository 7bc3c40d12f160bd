"""Whoever should read the programs' logs hangs: they go on, and say later how many lines are missing."""

import fcntl
import os
import re
from pathlib import Path
from typing import Self

import pytest

from tests.e2e.programs import Program, until
from tests.faults.noticed import QUICK, idle
from tests.faults.programs import Scene

pytestmark = pytest.mark.server("cc")

LOST = re.compile(r"lines_lost=(\d+)")


class FullPipe:
    """In the place of a program's standard error; nobody reads it until `read` is called."""

    def __init__(self, folder: Path, program: Program) -> None:
        path = folder / f"{program.name}.pipe"
        os.mkfifo(path)
        self._reads = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writes = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        size = fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, os.sysconf("SC_PAGE_SIZE"))
        assert os.write(writes, bytes(size)) == size
        os.close(writes)
        self.text = ""
        program.under = ("sh", "-c", 'exec "$@" 2>"$0"', str(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._reads)

    def read(self) -> str:
        """All that came until now; from now on there is room for more than one line."""
        fcntl.fcntl(self._reads, fcntl.F_SETPIPE_SZ, 1 << 16)
        while True:
            try:
                piece = os.read(self._reads, 1 << 16)
            except BlockingIOError:
                return self.text
            if not piece:
                return self.text
            self.text += piece.decode()


def test_programs_whose_log_nobody_reads_go_on_and_count_the_lines_that_are_lost(
    tmp_path: Path, nvml_library: Path
) -> None:
    scene = Scene(tmp_path, nvml_library, *QUICK)
    node = scene.nodes[0]
    with FullPipe(tmp_path, scene.collector) as of_collector, FullPipe(tmp_path, node.agent) as of_agent, scene:
        until(lambda: idle(scene) == 1, "the board is idle")
        assert set(of_agent.read()) == {"\0"}
        scene.collector.kill()
        scene.collector.start()
        until(lambda: LOST.search(of_agent.read()), "the agent says how many lines are lost")
        until(lambda: "uplink streaming" in of_agent.read(), "and the next ones follow")
        assert set(of_collector.read()) == {"\0"}
        node.kill()
        until(lambda: LOST.search(of_collector.read()), "the collector says how many lines are lost")
        until(lambda: "stream ended" in of_collector.read(), "and the next ones follow")
