"""No trouble with the disk stops the spool: it goes on in memory, says so, and moves back."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fallow_agent.errors import SpoolBusy
from fallow_agent.spool.item import Commit, Counters, Refused
from fallow_agent.spool.spool import FILE, Spool
from tests.agent.builders import START_MS, event, ranges, report

HOUR_MS = 3_600_000


def spool_in(directory: Path, mib: int = 64) -> Spool:
    return Spool.open(directory, mib << 20, 72 * HOUR_MS, now=0.0)


def held(spool: Spool, epoch: str = "a", last: int = 10_000) -> list[int]:
    return [item.seq for item in spool.read(epoch, 1, last, 1 << 30, now=0.0)[0]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"a small file system cannot be mounted: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_what_was_kept_is_recovered_once_by_the_next_run(tmp_path: Path) -> None:
    first = spool_in(tmp_path / "new" / "folder")
    first.commit(Commit([report(1), event(2)]), START_MS, 1.0)
    first.close()
    second = spool_in(tmp_path / "new" / "folder")
    assert second.recovered() == ranges(a=[(1, 2)])
    assert second.recovered() == {}
    assert second.problem == ""
    second.close()


def test_a_second_agent_on_one_folder_is_refused_with_the_process_that_has_it(tmp_path: Path) -> None:
    first = spool_in(tmp_path)
    with pytest.raises(SpoolBusy, match=f"process {os.getpid()}"):
        spool_in(tmp_path)
    first.close()
    spool_in(tmp_path).close()


def test_the_lock_ends_with_a_process_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from fallow_agent.spool.spool import Spool;"
        "from fallow_agent.spool.item import Commit; from tests.agent.builders import report;"
        f"s = Spool.open(Path({str(tmp_path)!r}), 1 << 26, 1 << 40, 0.0); s.commit(Commit([report(1)]), 0, 0.0);"
        "os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -9
    spool = spool_in(tmp_path)
    assert spool.recovered() == ranges(a=[(1, 1)])
    spool.close()


def test_a_folder_that_cannot_be_made_leaves_the_spool_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    spool = spool_in(tmp_path / "file" / "spool")
    assert "Not a directory" in spool.problem
    spool.commit(Commit([report(1), event(2)]), START_MS, 1.0)
    assert held(spool) == [1, 2]
    spool.commit(Commit(trims=[ranges(a=[(1, 1)])]), START_MS, 2.0)
    assert held(spool) == [2]
    assert str(tmp_path) in spool.problem
    spool.close()


def test_what_is_in_memory_moves_to_disk_when_that_works_again(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    spool = spool_in(tmp_path / "spool")
    spool.commit(Commit([report(1), event(2), report(1, "b")]), START_MS, 1.0)
    (tmp_path / "spool").unlink()
    spool.commit(Commit([report(3)]), START_MS, 2.0)
    assert spool.problem, "it is not tried again at once"
    spool.commit(Commit([report(4)], [ranges(b=[(1, 1)])]), START_MS, 40.0)
    assert spool.problem == ""
    spool.close()
    again = spool_in(tmp_path / "spool")
    assert again.recovered() == ranges(a=[(1, 4)])
    again.close()


def test_memory_is_bounded_and_what_it_dropped_is_counted_on_disk_later(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    spool = spool_in(tmp_path / "spool", mib=1)
    dropped = sum(
        spool.commit(Commit([report(seq, padding=4_000)]), START_MS, 1.0).reports for seq in range(1, 501)
    )
    assert 100 < dropped < 500
    assert spool.counters() == Counters(dropped_reports=dropped)
    (tmp_path / "spool").unlink()
    spool.commit(Commit([report(501)]), START_MS, 60.0)
    spool.close()
    again = spool_in(tmp_path / "spool", mib=1)
    assert again.counters() == Counters(dropped_reports=dropped)
    again.close()


def test_what_is_refused_while_the_disk_is_in_trouble_is_counted_and_does_not_come_back(small_disk: Path) -> None:
    spool = spool_in(small_disk)
    spool.commit(Commit([report(1), report(2)]), START_MS, 0.0)
    (small_disk / "filler").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))
    spool.commit(Commit([report(3, padding=8_000), report(4)]), START_MS, 1.0)
    assert spool.problem
    spool.commit(Commit(refusals=[Refused(ranges(a=[(2, 3)]), "malformed")]), START_MS, 2.0)
    assert held(spool) == [1, 4]
    (small_disk / "filler").unlink()
    spool.commit(Commit(), START_MS, 60.0)
    assert (spool.problem, held(spool)) == ("", [1, 4])
    assert spool.counters() == Counters(refused=2)
    spool.close()


def test_a_disk_that_is_full_when_the_agent_starts_is_used_when_there_is_room(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))
    spool = spool_in(small_disk)
    assert "No space left" in spool.problem
    spool.commit(Commit([report(1)]), START_MS, 1.0)
    (small_disk / "filler").unlink()
    spool.commit(Commit([report(2)]), START_MS, 60.0)
    assert (spool.problem, held(spool)) == ("", [1, 2])
    spool.close()


def test_what_is_acknowledged_before_it_is_there_was_not_meant(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    spool = spool_in(tmp_path / "file")
    spool.commit(Commit([report(1)], [ranges(a=[(1, 2**64 - 1)])]), START_MS, 1.0)
    spool.commit(Commit([report(2)]), START_MS, 2.0)
    assert held(spool) == [2]
    (tmp_path / "file").unlink()
    spool.commit(Commit([report(3)]), START_MS, 60.0)
    assert (spool.problem, held(spool)) == ("", [2, 3])
    spool.close()


def test_a_full_disk_costs_nothing_but_durability(small_disk: Path) -> None:
    spool = spool_in(small_disk)
    for seq in range(1, 201):
        spool.commit(Commit([report(seq, padding=4_000)]), START_MS, float(seq))
    assert "full" in spool.problem
    assert held(spool) == list(range(1, 201))
    spool.commit(Commit(trims=[ranges(a=[(1, 190)])]), START_MS, 500.0)
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    spool.commit(Commit([report(201)]), START_MS, 900.0)
    assert spool.problem == ""
    assert held(spool) == list(range(191, 202))
    assert not any(spool.counters())
    spool.close()


def test_the_last_thing_before_it_ends_is_another_try_of_the_disk(small_disk: Path) -> None:
    spool = spool_in(small_disk)
    (small_disk / "filler").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))
    spool.commit(Commit([report(1, padding=8_000)]), START_MS, 1.0)
    assert spool.problem
    (small_disk / "filler").unlink()
    spool.commit(Commit([report(2)]), START_MS, 2.0)  # too soon: it would be another try of a full disk each second
    spool.try_disk(START_MS, 3.0)
    assert spool.problem == ""
    spool.close()
    again = spool_in(small_disk)
    assert held(again) == [1, 2]
    again.close()


def test_a_read_only_disk_at_the_start_leaves_the_spool_in_memory(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    spool = spool_in(small_disk)
    assert "Read-only" in spool.problem
    spool.commit(Commit([report(1)]), START_MS, 1.0)
    assert held(spool) == [1]
    spool.close()


def test_a_file_that_is_no_database_is_set_aside_and_counted(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"garbage" * 1_000)
    spool = spool_in(tmp_path)
    assert f"{FILE}.damaged-0" in spool.damage()
    assert (spool.damage(), spool.problem) == ("", "")
    spool.commit(Commit([report(1)]), START_MS, 1.0)
    assert (tmp_path / f"{FILE}.damaged-0").read_bytes().startswith(b"garbage")
    assert spool.counters().quarantined == 1
    spool.close()


def test_commits_that_a_damaged_log_costs_are_told_and_counted_once(tmp_path: Path) -> None:
    spool = spool_in(tmp_path / "spool")
    log = tmp_path / "killed" / f"{FILE}-wal"
    sizes = []
    for seq in range(1, 6):
        spool.commit(Commit([report(seq)]), START_MS, 1.0)
        sizes.append((tmp_path / "spool" / log.name).stat().st_size)
    shutil.copytree(tmp_path / "spool", tmp_path / "killed")
    spool.close()
    with log.open("r+b") as file:
        file.seek(sizes[1] + 100)  # in a page of the third
        file.write(b"damage")
    spool = spool_in(tmp_path / "killed")
    assert spool.damage().endswith(f"{FILE}: its log is damaged, and the last 3 commits are gone")
    assert (held(spool), spool.counters()) == ([1, 2], Counters(damaged=3))
    spool.close()
    spool = spool_in(tmp_path / "killed")
    assert (spool.damage(), spool.counters()) == ("", Counters(damaged=3))
    spool.close()


def test_a_file_that_says_it_cannot_be_written_is_set_aside_and_counted(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.commit(Commit([report(1)]), START_MS, 1.0)
    spool.close()
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(18)
        file.write(b"\xfd")
    spool = spool_in(tmp_path)
    assert f"expected 1 or 2; it was set aside as {FILE}.damaged-0" in spool.damage()
    spool.commit(Commit([report(2)]), START_MS, 1.0)
    assert (spool.problem, held(spool), spool.counters().quarantined) == ("", [2], 1)
    spool.close()


def test_damaged_files_are_kept_up_to_three(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / FILE).write_bytes(b"garbage %d" % number * 1_000)
        (tmp_path / f"{FILE}-wal").unlink(missing_ok=True)
        spool = spool_in(tmp_path)
        spool.close()
        (tmp_path / FILE).unlink(missing_ok=True)
    assert len(list(tmp_path.glob("*.damaged-*"))) == 3


def test_what_a_newer_agent_wrote_is_set_aside_whole_and_never_replaced(tmp_path: Path) -> None:
    for number in range(5):
        with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as newer, newer:
            newer.execute("PRAGMA journal_mode = WAL")
            newer.execute("PRAGMA user_version = 99")
            newer.execute("CREATE TABLE other AS SELECT ? AS a", (number,))
            shutil.copytree(tmp_path, tmp_path / "killed", ignore=shutil.ignore_patterns("*.newer-*", "killed"))
        for file in (tmp_path / "killed").iterdir():
            file.replace(tmp_path / file.name)
        (tmp_path / "killed").rmdir()
        spool = spool_in(tmp_path)
        told = spool.damage()
        assert "was written by a newer agent (format 99" in told
        assert f"set aside as {FILE}.newer-{number}" in told
        spool.commit(Commit([report(1)]), START_MS, 1.0)
        assert (spool.problem, held(spool), spool.counters().quarantined) == ("", [1], 1)
        spool.close()
        (tmp_path / FILE).unlink()
    for number in range(5):
        with contextlib.closing(sqlite3.connect(tmp_path / f"{FILE}.newer-{number}")) as kept:
            assert kept.execute("SELECT a FROM other").fetchall() == [(number,)]


@pytest.mark.parametrize("how", ["emptied", "removed", "replaced"])
def test_a_folder_that_is_removed_while_it_is_in_use_is_put_back_with_all_that_was_in_it(
    tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "spool"
    spool = spool_in(folder)
    spool.commit(Commit([report(1), event(2)]), START_MS, 1.0)
    shutil.rmtree(folder)
    if how != "removed":
        folder.mkdir()
    if how == "replaced":
        with contextlib.closing(sqlite3.connect(folder / FILE)) as other:
            other.execute("CREATE TABLE other (a)")
    spool.commit(Commit([report(3)]), START_MS, 2.0)
    assert spool.problem == ""
    assert held(spool) == [1, 2, 3]
    with pytest.raises(SpoolBusy):
        spool_in(folder)
    spool.close()
    after = spool_in(folder)
    assert held(after) == [1, 2, 3]
    assert after.counters().quarantined == (how == "replaced")
    after.close()


def test_two_agents_do_not_share_a_folder_that_was_removed_and_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    first = spool_in(folder)
    first.commit(Commit([report(1)]), START_MS, 1.0)
    shutil.rmtree(folder)
    second = spool_in(folder)
    first.commit(Commit([report(2)]), START_MS, 2.0)
    assert "used by another agent" in first.problem
    assert held(first) == [1, 2]
    second.commit(Commit([report(1, "b")]), START_MS, 3.0)
    assert held(second, "b") == [1]
    first.close()
    second.close()


def test_damage_that_shows_later_costs_what_was_on_disk_and_no_more(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for first in range(1, 401, 40):
        spool.commit(Commit([report(seq, padding=4_000) for seq in range(first, first + 40)]), START_MS, 1.0)
    spool.close()
    spool = spool_in(tmp_path)
    with (tmp_path / FILE).open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for page in range(1, size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)
    for seq in range(401, 411):
        spool.commit(Commit([report(seq)]), START_MS, float(seq))
        spool.read("a", 1, 500, 1 << 20, now=float(seq))
    spool.commit(Commit([report(411)]), START_MS, 500.0)
    assert spool.problem == ""
    assert spool.counters().quarantined == 1
    assert set(range(402, 412)) <= set(held(spool))
    spool.close()
