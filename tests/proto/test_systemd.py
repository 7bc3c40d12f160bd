"""When systemd's watchdog is fed, and what it is told; that a real systemd hears it is shown in tests/deploy."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fallow_proto.systemd import Watchdog, notify_status


def test_a_watchdog_is_fed_no_more_often_than_it_needs() -> None:
    watchdog = Watchdog(15.0, 0.0)
    fed = []
    for second in range(60):
        watchdog.worked()
        if watchdog.due(float(second)):
            fed.append(second)
    assert fed == [0, 15, 30, 45]


def test_a_loop_that_runs_and_does_no_work_does_not_feed_it() -> None:
    watchdog = Watchdog(15.0, 0.0)
    watchdog.worked()
    assert [second for second in range(100) if watchdog.due(float(second))] == [0]
    watchdog.worked()
    assert watchdog.due(100.0)


def test_who_is_not_watched_feeds_nobody() -> None:
    watchdog = Watchdog(None, 0.0)
    watchdog.worked()
    assert not watchdog.due(100.0)


def test_a_problem_of_two_lines_is_a_status_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        notify_status("store: disk full\nWATCHDOG=1")
        assert systemd.recv(4096) == b"STATUS=store: disk full WATCHDOG=1"


def test_a_systemd_that_has_stopped_reading_holds_nobody_up(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with (
        contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd,
        contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as others,
    ):
        systemd.bind(path)
        others.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                others.sendto(b"STATUS=busy", path)
        subprocess.run(
            [sys.executable, "-c", "from fallow_proto.systemd import notify; notify('WATCHDOG=1')"],
            env={**os.environ, "NOTIFY_SOCKET": path}, timeout=60.0, check=True,
        )
