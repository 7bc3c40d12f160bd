"""Processes in state D, from /proc/PID/stat."""

from pathlib import Path

import pytest

from fallow_agent.readers import host_tasks
from fallow_agent.readers.host_tasks import Task, TaskWatch

SMI = Task(77, "nvidia-smi", 5_000, 12)
SHELL = Task(78, "bash", 5_100, 3)


def stat(proc: Path, pid: int, name: str, state: str) -> None:
    """In the form of proc(5): utime 12, stime 34, started after 5000 ticks."""
    (proc / str(pid)).mkdir(parents=True)
    fields = f"{state} 1 1 1 0 -1 4194304 0 0 0 0 12 34 0 0 20 0 1 0 5000 1000 10 18446744073709551615"
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {fields} 0 0 0\n")


def test_only_processes_in_state_d_wait_whatever_their_names(tmp_path: Path) -> None:
    stat(tmp_path, 1, "systemd", "S")
    stat(tmp_path, 77, "nvidia-smi", "D")
    stat(tmp_path, 78, "odd) D (name", "R")
    stat(tmp_path, 79, "odd) R 1 (name", "D")
    (tmp_path / "80").mkdir()  # it ended while it was looked at
    assert sorted(host_tasks.waiting(tmp_path) or ()) == [
        Task(77, "nvidia-smi", 5_000, 46), Task(79, "odd) R 1 (name", 5_000, 46),
    ]


@pytest.mark.parametrize("text", ["", "77 (half", "77 (half) D 1 2", "x (y) D" + " z" * 30])
def test_half_a_line_is_no_process(tmp_path: Path, text: str) -> None:
    stat(tmp_path, 1, "systemd", "S")
    (tmp_path / "77").mkdir()
    (tmp_path / "77/stat").write_text(text)
    assert host_tasks.waiting(tmp_path) == []


def test_where_processes_of_others_are_hidden_nothing_is_known(tmp_path: Path) -> None:
    stat(tmp_path, 4_242, "fallow-agent", "S")
    assert host_tasks.waiting(tmp_path) is None
    assert host_tasks.waiting(tmp_path / "nothing") is None


def test_a_process_is_blocked_after_five_minutes_in_which_it_never_ran() -> None:
    watch = TaskWatch()
    assert watch.take([], 0.0) == (0, 0)
    assert watch.take([SMI, SHELL], 60.0) == (0, 0)
    assert watch.take([SMI, SHELL], 359.0) == (0, 0)
    assert watch.take([SMI, SHELL], 360.0) == (2, 1)
    assert watch.take([SMI._replace(used=13), SHELL], 420.0) == (1, 0)
    assert watch.take([], 480.0) == (0, 0)


def test_another_process_under_the_same_number_begins_anew() -> None:
    watch = TaskWatch()
    watch.take([], 0.0)
    watch.take([SMI], 60.0)
    assert watch.take([SMI._replace(started=9_000)], 400.0) == (0, 0)


def test_what_waited_when_the_watch_began_may_have_for_long_and_is_not_known() -> None:
    watch = TaskWatch()
    assert watch.take([SMI], 1_000.0) is None
    assert watch.take([SMI], 1_299.0) is None
    assert watch.take([SMI], 1_300.0) == (1, 1)
    later = TaskWatch()
    assert later.take([SMI], 0.0) is None
    assert later.take([SHELL], 60.0) == (0, 0)
