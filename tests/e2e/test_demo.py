"""`make demo` as a visitor runs it, ended by itself."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.programs import environment, until

DEMO = Path(__file__).parents[2] / "deploy" / "demo.py"


def running(mark: str) -> dict[str, psutil.Process]:
    """The processes that were started with this mark in their environment, by command line."""
    found = {}
    for process in psutil.process_iter():
        try:
            if mark in process.environ().values():
                found[" ".join(process.cmdline())] = process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture
def mark(tmp_path: Path) -> str:
    """Its value names this test's processes, and its folder holds what they write."""
    return str(tmp_path)


@contextmanager
def started(mark: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    demo = subprocess.Popen(
        [sys.executable, str(DEMO), *arguments], env=environment(TMPDIR=mark), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    try:
        yield demo
    finally:
        demo.terminate()
        demo.communicate(timeout=180)


def test_the_demo_shows_this_machine_and_the_simulated_fleet_and_leaves_nothing_behind(mark: str) -> None:
    with started(mark, "--seconds", "25") as demo:
        said, _ = demo.communicate(timeout=180)
    assert demo.returncode == 0, said
    assert socket.gethostname() in said
    assert "1 general" in said  # the host's own CPUs
    assert "48 intelligent" in said
    assert "NVIDIA A100-SXM4-80GB" in said
    assert "910B2" in said
    assert "fallow reserve --count 2 --same node " in said
    assert said.endswith("stopped\n")
    assert running(mark) == {}
    assert os.listdir(mark) == []  # noqa: PTH208  # no file, no folder


def test_a_program_that_dies_is_named_with_its_last_words_and_the_others_are_stopped(mark: str) -> None:
    def simulator() -> list[psutil.Process]:
        return [process for command, process in running(mark).items() if "fallow-sim" in command]

    with started(mark) as demo:
        until(simulator, "the demo has started fallow-sim")[0].kill()
        said, _ = demo.communicate(timeout=180)
    assert demo.returncode == 1
    assert "fallow-sim has ended with status -9. Its last lines:" in said
    assert running(mark) == {}


def test_ctrl_c_ends_the_demo_in_good_order(mark: str) -> None:
    with started(mark) as demo:
        until(lambda: len(running(mark)) > 1, "the demo has started a program")
        demo.send_signal(signal.SIGINT)
        said, _ = demo.communicate(timeout=180)
    assert demo.returncode == 0, said
    assert said.endswith("stopped\n")
    assert running(mark) == {}
