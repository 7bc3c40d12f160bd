"""A spool that was torn or falsified at any byte: it is never fatal, nothing false comes out of it, and what is gone is
counted, or is the end of a log, which a crash may cost as well."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest

from fallow_agent.spool.item import Commit, Counters
from fallow_agent.spool.spool import FILE, Spool
from tests.agent.builders import START_MS, event, report
from tests.faults.table import Row, cycles, record

HOUR_MS = 3_600_000
MANY = 40
ITEMS = [*(report(number, padding=300) for number in range(1, MANY)), event(MANY)]
KEPT = {item.seq: item.body for item in ITEMS}
NEXT = report(MANY + 1)

WAL = f"{FILE}-wal"
FRAME_BYTES = 24 + 4096  # of the log
HEADER_BYTES = 512
"""A shorter file is an empty one to SQLite."""


def opened(folder: Path) -> Spool:
    return Spool.open(folder, 64 << 20, 72 * HOUR_MS, now=0.0)


@pytest.fixture(scope="module")
def spools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders with the same items: all of it in the database, all of it in its log."""
    folder = tmp_path_factory.mktemp("spools")
    spool = opened(folder / "log")
    for item in ITEMS:
        spool.commit(Commit([item]), START_MS, 0.0)
    shutil.copytree(folder / "log", folder / "killed")
    spool.close()
    return folder / "log", folder / "killed"


def after(folder: Path, spoil: Callable[[Path], None], scratch: Path) -> tuple[dict[int, bytes], Counters]:
    """What a spool gives out once a copy of it was spoilt, and what it has counted. It must take new reports."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(folder, scratch)
    spoil(scratch)
    spool = opened(scratch)
    try:
        found = {item.seq: item.body for item in spool.read("a", 1, 1 << 30, 1 << 30, 0.0)[0]}
        spool.commit(Commit([NEXT]), START_MS, 1.0)
        if spool.problem:  # of an index, found when it is written to; then it is set aside
            spool.commit(Commit(), START_MS, 1.0)
            assert spool.counters().quarantined == 1
        assert spool.problem == ""
        assert [item.seq for item in spool.read("a", NEXT.seq, NEXT.seq, 1 << 30, 2.0)[0]] == [NEXT.seq]
        return found, spool.counters()
    finally:
        spool.close()


def flipped(name: str, at: int) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        with (folder / name).open("r+b") as file:
            file.seek(at)
            [byte] = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 0xFF]))

    return spoil


def cut(name: str, length: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, length)


def blank(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def places(file: Path, short: int, step: int) -> Iterable[int]:
    """About `short` places in the file; in the long form each step."""
    size = file.stat().st_size
    return range(0, size, cycles(short=max(1, size // short), long=step))


def test_a_flipped_byte_of_the_database_costs_one_report_or_is_counted(
    spools: tuple[Path, Path], tmp_path: Path
) -> None:
    closed, _ = spools
    flips = hits = gone = 0
    for at in places(closed / FILE, short=250, step=1):
        found, counters = after(closed, flipped(FILE, at), tmp_path / "spool")
        assert found.items() <= KEPT.items()
        lost = len(KEPT) - len(found)
        assert lost <= counters.damaged or counters.quarantined
        flips += 1
        hits += lost > 0
        gone += lost
    record(Row("a byte of the spool flipped", flips, made=flips * len(KEPT), stored=flips * len(KEPT) - gone))
    assert hits


def test_a_flipped_byte_of_the_log_costs_what_was_committed_after_it_and_is_counted(
    spools: tuple[Path, Path], tmp_path: Path
) -> None:
    _, killed = spools
    hits = 0
    for at in places(killed / WAL, short=150, step=17):
        found, counters = after(killed, flipped(WAL, at), tmp_path / "spool")
        assert found == {seq: body for seq, body in KEPT.items() if seq <= len(found)}
        in_salt = at >= 32 and 8 <= (at - 32) % FRAME_BYTES < 16  # of which the frame is taken for an older one's
        hits += len(found) < len(KEPT)
        assert counters.damaged >= len(KEPT) - len(found) - in_salt
    assert hits


def test_a_damaged_layout_is_made_anew_for_the_reports_that_follow(spools: tuple[Path, Path], tmp_path: Path) -> None:
    closed, _ = spools
    with closing(sqlite3.connect(closed / FILE)) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'layout'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    for at in range(root * size - 60, root * size):  # its only row: hash and body
        found, counters = after(closed, flipped(FILE, at), tmp_path / "spool")
        assert len(KEPT) - len(found) <= counters.damaged or counters.quarantined


def test_rows_that_a_damaged_page_does_not_lead_to_any_more_are_noticed(
    spools: tuple[Path, Path], tmp_path: Path
) -> None:
    closed, _ = spools
    with closing(sqlite3.connect(closed / FILE)) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'report'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    hits = 0
    for at in range(root * size - 32, root * size):  # its cells: https://sqlite.org/fileformat2.html#b_tree_pages
        found, counters = after(closed, flipped(FILE, at), tmp_path / "spool")
        assert len(KEPT) - len(found) <= counters.damaged or counters.quarantined
        hits += counters.quarantined
    assert hits


def test_a_row_that_bears_another_number_than_its_report_is_removed_and_counted(
    spools: tuple[Path, Path], tmp_path: Path
) -> None:
    def renumber(folder: Path) -> None:
        with closing(sqlite3.connect(folder / FILE)) as database, database:
            database.execute("UPDATE report SET number = number + 1000 WHERE number = (SELECT max(number) FROM report)")

    found, counters = after(spools[0], renumber, tmp_path / "spool")
    assert found == {seq: body for seq, body in KEPT.items() if seq != MANY - 1}
    assert counters == Counters(damaged=1)


@pytest.mark.parametrize("which", [0, 1])
def test_cut_anywhere_it_begins_anew_or_with_what_was_committed_before(
    which: int, spools: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, name = spools[which], (FILE, WAL)[which]
    hits = 0
    for length in places(folder / name, short=100, step=17):
        found, counters = after(folder, cut(name, length), tmp_path / "spool")
        if name == WAL:
            assert found == {seq: body for seq, body in KEPT.items() if seq <= len(found)}
        assert found.items() <= KEPT.items()
        if name == FILE and length >= HEADER_BYTES:
            assert len(KEPT) - len(found) <= counters.damaged or counters.quarantined == 1
        hits += 1
    assert hits > 90


def test_a_log_of_zeroes_and_one_that_is_gone_are_no_trouble(spools: tuple[Path, Path], tmp_path: Path) -> None:
    closed, killed = spools
    found, counters = after(killed, lambda folder: blank(folder / WAL), tmp_path / "a")
    assert (found, counters) == ({}, Counters())
    found, counters = after(killed, lambda folder: (folder / WAL).unlink(), tmp_path / "b")
    assert (found, counters) == ({}, Counters())
    found, counters = after(closed, lambda folder: (folder / "lock").unlink(), tmp_path / "c")
    assert (found, counters) == (KEPT, Counters())


@pytest.mark.parametrize("name", [FILE, WAL])
def test_a_folder_in_the_place_of_a_file_leaves_the_spool_in_memory_with_a_word(name: str, tmp_path: Path) -> None:
    (tmp_path / "spool" / name).mkdir(parents=True)
    spool = opened(tmp_path / "spool")
    spool.commit(Commit([ITEMS[0]]), START_MS, 0.0)
    assert str(tmp_path / "spool") in spool.problem
    assert [item.seq for item in spool.read("a", 1, 10, 1 << 20, 0.0)[0]] == [1]
    spool.close()
