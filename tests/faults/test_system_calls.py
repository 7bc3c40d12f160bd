"""Every system call on a spool that fails once: the agent lives on, and nothing that was owed is lost. strace makes the
n-th call of each thread fail; see strace(1), "tampering"."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from tests.faults.programs import Scene
from tests.faults.table import cycles, record, row_of

pytestmark = pytest.mark.server("cc", "strace")

CALLS = ("pwrite64", "fdatasync", "openat", "ftruncate", "unlink")
"""What SQLite and the agent do with these files."""
NODES = 6
SPOOL = ("spool.sqlite", "spool.sqlite-wal", "lock")


class Failure(NamedTuple):
    call: str
    error: str
    number: int

    def under(self, trace: Path, paths: Iterable[Path]) -> tuple[str, ...]:
        """The command that executes a program and lets it happen on these paths. The program keeps its own pid."""
        on = [word for path in paths for word in ("-P", str(path))]
        return (
            "strace", "-D", "-f", "-qq", "-o", str(trace), *on, "-e", f"trace={self.call}",
            "-e", f"inject={self.call}:error={self.error}:when={self.number}",
        )


def failures(numbers: Iterable[int], short: int) -> list[Failure]:
    """All of them, or as many as the short form makes, spread over all."""
    every = [Failure(*each) for each in product(CALLS, ("EIO", "ENOSPC"), numbers)]
    Random(41).shuffle(every)
    return every[:cycles(short=short, long=len(every))]


def happened(traces: Iterable[Path]) -> int:
    return sum(trace.read_text(errors="replace").count("(INJECTED)") for trace in traces if trace.exists())


def test_any_failing_call_on_an_agent_s_spool_loses_nothing_that_was_owed(tmp_path: Path, nvml_library: Path) -> None:
    planned = failures(numbers=(1, 2, 3, 5, 8, 13, 21, 34), short=NODES)
    with Scene(tmp_path, nvml_library, nodes=NODES) as scene:
        for first in range(0, len(planned), NODES):
            for number, (node, failure) in enumerate(zip(scene.nodes, planned[first:], strict=False), first):
                node.kill()
                node.agent.under = failure.under(tmp_path / f"trace-{number}", [node.spool / name for name in SPOOL])
                node.start()
            for node in scene.nodes:
                node.wait_for_readings(20)
                node.agent.check()
                node.kill()
                node.agent.under = ()
                node.start()
        scene.settle()
        found = scene.verdicts()
        hits = happened(tmp_path.glob("trace-*"))
    record(row_of("a call on the spool fails", hits, found))
    assert hits
    for verdict in found:
        assert not verdict.lost
        assert not verdict.doubled
        assert not verdict.invented
