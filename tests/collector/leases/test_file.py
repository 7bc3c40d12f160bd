"""The file of leases: what is there after a kill, what damage costs, and what a full disk does."""

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from fallow_collector.leases import Claimant, Clock, Commits, Held, Lease, LeaseFile, Standing, State
from fallow_collector.leases.file import FILE
from fallow_collector.state import StateError

LEASE = Lease(
    lease_id="lease-7", claimant=Claimant("tokens-a", "alice"), token=7, state=State.LEASED, ttl_s=60.0, until=1050.0,
    made=1.7e9, began=990.0, devices=(Held("g0", "n1"), Held("g1", "n2")), open=frozenset({"g0"}), short=True,
    why="because", key="k", digest="d",
)
CLOCK = Clock.resumed(0.0, 500.0)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LeaseFile]:
    opened = LeaseFile(tmp_path)
    yield opened
    opened.close()


def test_a_lease_comes_back_as_it_was_with_the_time_that_remained(tmp_path: Path, file: LeaseFile) -> None:
    file.write([CLOCK.row_of(LEASE)], (), Standing(9, CLOCK.shows(1000.0)))
    with contextlib.closing(LeaseFile(tmp_path)) as again:
        (row,), standing = again.load()
    assert standing == Standing(9, 500.0)
    later = Clock.resumed(standing.clock, 77.0).lease_of(row)  # another boot, another monotonic clock
    assert later.until - 77.0 == LEASE.until - 1000.0
    assert later.began - 77.0 == LEASE.began - 1000.0
    for name in ("lease_id", "claimant", "token", "state", "devices", "open", "short", "why", "key", "digest"):
        assert getattr(later, name) == getattr(LEASE, name)


def test_never_comes_back_as_never(file: LeaseFile) -> None:
    lease = replace(LEASE, until=inf, began=-inf)
    file.write([CLOCK.row_of(lease)], (), Standing(7, 0.0))
    assert CLOCK.lease_of(file.load()[0][0]) == lease


def test_what_was_written_survives_a_kill_and_what_was_not_is_not_there(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from fallow_collector.leases import LeaseFile, Standing\n"
        "from tests.collector.leases.test_file import CLOCK, LEASE\n"
        "file = LeaseFile(Path(sys.argv[1]))\n"
        "file.write([CLOCK.row_of(LEASE)], (), Standing(7, 3.0))\n"
        "file._connection.execute('BEGIN IMMEDIATE')\n"
        "file._connection.execute('DELETE FROM leases')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    with contextlib.closing(LeaseFile(tmp_path)) as file:
        rows, standing = file.load()
        assert ([row.lease_id for row in rows], standing) == (["lease-7"], Standing(7, 3.0))


def test_a_damaged_file_is_put_aside_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    LeaseFile(tmp_path).close()
    (tmp_path / FILE.name).write_bytes(b"no database" * 1000)
    with contextlib.closing(LeaseFile(tmp_path)) as file:
        assert file.load() == ([], Standing(0, 0.0))
        assert file.damaged is not None
    assert "their holders must reserve anew" in caplog.text


def test_a_full_disk_keeps_all_of_a_group_or_nothing_and_the_next_one_takes_it_along(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = LeaseFile(tmp_path)
        pages = file._connection.execute("PRAGMA page_count").fetchone()[0]
        commits = Commits(file, lambda: Standing(7, 1.0))
        row = CLOCK.row_of(LEASE)
        many = [row._replace(lease_id=f"lease-{n}", why="x" * 500) for n in range(100)]
        file._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StateError, match="database or disk is full; check the disk"):
            await commits.keep(many)
        assert file.load() == ([], Standing(0, 0.0))
        assert "disk is full" in commits.problem
        file._connection.execute("PRAGMA max_page_count = 100000")
        await commits.keep([row])
        assert len(file.load()[0]) == 100  # lease-7 is one of them
        assert {found.why for found in file.load()[0] if found.lease_id == "lease-7"} == {"because"}
        assert commits.problem == ""
        await commits.close()

    asyncio.run(scenario())


def test_decisions_gather_while_the_disk_takes_others_and_the_newest_of_a_lease_wins(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = LeaseFile(tmp_path)
        groups: list[float] = []

        def standing() -> Standing:
            groups.append(len(groups))
            return Standing(len(groups), 0.0)

        commits = Commits(file, standing)
        row = CLOCK.row_of(LEASE)
        await asyncio.gather(*(commits.keep([row._replace(token=n)]) for n in range(200)))
        assert len(groups) == 1  # nothing had been taken when the last of them came
        await asyncio.gather(commits.keep([row._replace(token=500)]), commits.keep(forgotten=["lease-7"]))
        assert file.load()[0] == []
        await commits.close()

    asyncio.run(scenario())


def test_whoever_shows_what_was_decided_waits_until_the_disk_has_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = LeaseFile(tmp_path)
        commits = Commits(file, lambda: Standing(7, 1.0))
        await commits.settle()  # nothing to wait for
        row = CLOCK.row_of(LEASE)
        commits.keep([row])
        await commits.settle()
        assert file.load()[0] == [row]
        commits.keep([row._replace(token=8)])
        await asyncio.sleep(0)  # the group is on its way, and none gathers
        await commits.settle()
        assert [kept.token for kept in file.load()[0]] == [8]
        await commits.close()

    asyncio.run(scenario())


def test_others_may_not_read_it(tmp_path: Path) -> None:
    LeaseFile(tmp_path).close()
    assert (tmp_path / FILE.name).stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(tmp_path / FILE.name)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
