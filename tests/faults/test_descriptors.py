"""A collector that may open no more files: who is connected stays so, nothing that was kept is taken for damaged, and
all is well again once there are some."""

import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.programs import until
from tests.faults import hurried
from tests.faults.noticed import QUICK, idle, is_back
from tests.faults.programs import Scene
from tests.faults.table import cycles, record, row_of

pytestmark = pytest.mark.server("cc")

FILES = 120
EXHAUSTED_S = 8.0
"""Longer than the store of `hurried` goes without a new file."""
PACE = ("interval_s = 1.0", 'readers.enabled = ["nvidia"]')  # a busy machine may be late by more than 100 ms


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def take_all(scene: Scene, held: ExitStack) -> None:
    """Connections that say nothing, to both ports, until no more are accepted."""
    for address in (scene.collector.grpc, scene.collector.url.removeprefix("http://")) * FILES:
        host, port = address.rsplit(":", 1)
        connection = held.enter_context(socket.socket())
        connection.setblocking(False)
        connection.connect_ex((host, int(port)))
    until(lambda: open_files(scene.collector.pid) >= FILES, "the collector has all the files open that it may")


def test_a_collector_without_a_file_descriptor_keeps_who_is_connected_and_recovers(
    tmp_path: Path, nvml_library: Path
) -> None:
    rounds = cycles(short=1, long=20)
    recovery_s = 0.0
    scene = Scene(tmp_path, nvml_library, *QUICK, "store.embedded.min_free_gib = 0", pace=PACE)
    scene.collector.under = ("sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", sys.executable, hurried.__file__)
    with scene:
        until(lambda: idle(scene) == 1, "the board is idle")
        streams = scene.tap.streams
        for _ in range(rounds):
            with ExitStack() as held:
                take_all(scene, held)
                passed = len(scene.tap.passed)
                time.sleep(EXHAUSTED_S)  # the fault
                scene.collector.check()
                assert len(scene.tap.passed) > passed
            began = time.monotonic()
            until(lambda: is_back(scene, scene.node) and idle(scene) == 1, "it answers, and the board is idle")
            before = len(scene.tap.acknowledged[scene.node.name])
            until(lambda: len(scene.tap.acknowledged[scene.node.name]) > before, "acknowledgements go on")  # noqa: B023
            recovery_s = max(recovery_s, time.monotonic() - began)
        assert scene.tap.streams == streams
        scene.settle()
        found = scene.verdicts()
        told = scene.collector.log.read_text()
    record(row_of("no file descriptor left", rounds, found, recovery_s))
    assert "damaged" not in told
    assert "accept() out of system resource" not in told
    assert 1 <= told.count("connections cannot be taken problem='[Errno 24] Too many open files'") <= rounds
    [verdict] = found
    assert not verdict.lost
    assert not verdict.doubled
    assert not verdict.invented
