"""One database: what is committed is there, in order, bounded, and damage is found and counted."""

import shutil
import sqlite3
from pathlib import Path
from zlib import crc32

import pytest

from fallow_agent.errors import SpoolNewer
from fallow_agent.spool.database import Database
from fallow_agent.spool.item import Commit, Item, Refused
from tests.agent.builders import START_MS, event, layout, ranges, report

HOUR_MS = 3_600_000


def database(path: Path | None = None, mib: float = 64, age_ms: int = 72 * HOUR_MS) -> Database:
    return Database(path, int(mib * (1 << 20)), age_ms)


def seqs(items: list[Item]) -> list[int]:
    return [item.seq for item in items]


def test_what_was_committed_is_there_after_reopening_with_its_layout(tmp_path: Path) -> None:
    first = database(tmp_path / "s")
    first.commit(Commit([report(1), report(2, devices=3), event(3), report(1, "b")]), START_MS)
    first.close()
    second = database(tmp_path / "s")
    assert second.recovered == ranges(a=[(1, 3)], b=[(1, 1)])
    items, until = second.read("a", 1, 10, 1 << 20)
    assert items == [report(1), report(2, devices=3), event(3)]
    assert until == 10
    second.close()


def test_epochs_come_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    first = database(tmp_path / "s")
    first.commit(Commit([report(1, "z")]), START_MS)
    first.commit(Commit([report(1, "m"), report(1, "a")]), START_MS)
    first.close()
    assert list(database(tmp_path / "s").recovered) == ["z", "m", "a"]


def test_trimming_takes_reports_and_events_and_leaves_other_epochs() -> None:
    spool = database()
    spool.commit(Commit([report(1), event(2), report(3), report(1, "b")]), START_MS)
    spool.commit(Commit(trims=[ranges(a=[(1, 2)], never_heard_of=[(1, 9)])]), START_MS)
    assert spool.held() == ranges(a=[(3, 3)], b=[(1, 1)])


def test_an_acknowledgement_of_absurd_numbers_trims_only_its_epoch() -> None:
    spool = database()
    spool.commit(Commit([report(1), report(1, "b")]), START_MS)
    spool.commit(Commit(trims=[ranges(a=[(0, 2**64 - 1)])]), START_MS)
    assert spool.held() == ranges(b=[(1, 1)])


def test_an_event_that_grew_replaces_its_earlier_self() -> None:
    spool = database()
    spool.commit(Commit([event(1, name="x"), report(2), event(3, name="x", count=7)]), START_MS)
    items, _ = spool.read("a", 1, 3, 1 << 20, events=True)
    assert items == [event(3, name="x", count=7)]


def test_refused_reports_are_set_aside_and_counted() -> None:
    spool = database()
    spool.commit(Commit([report(1), report(2), event(3)]), START_MS)
    spool.commit(Commit(refusals=[Refused(ranges(a=[(2, 3)]), "malformed")]), START_MS)
    assert spool.held() == ranges(a=[(1, 1)])
    assert spool.counters().refused == 2


def test_reading_stops_at_the_size_asked_for_and_says_how_far_it_looked() -> None:
    spool = database()
    spool.commit(Commit([report(seq, padding=4_000) for seq in range(1, 9)]), START_MS)
    items, until = spool.read("a", 1, 100, 10_000)
    assert seqs(items) == [1, 2]
    assert until == 2
    items, until = spool.read("a", 3, 100, 1)
    assert seqs(items) == [3], "one at least, or nothing would ever be sent"
    assert until == 3


def test_reading_many_small_reports_says_how_far_it_looked() -> None:
    spool = database()
    spool.commit(Commit([report(seq) for seq in range(1, 1_501)]), START_MS)
    items, until = spool.read("a", 1, 5_000, 1 << 20)
    assert (len(items), until) == (1_000, 1_000)
    items, until = spool.read("a", until + 1, 5_000, 1 << 20)
    assert (len(items), until) == (500, 5_000)


def test_a_full_spool_drops_the_oldest_reports_and_keeps_every_event() -> None:
    spool = database(mib=1)
    dropped = 0
    for first in range(1, 1_001, 10):
        items = [report(seq, padding=4_000) for seq in range(first, first + 9)]
        dropped += spool.commit(Commit([*items, event(first + 9)]), START_MS).reports
    held = spool.held()["a"]
    reports = [item for lo, hi in held for item in spool.read("a", lo, hi, 1 << 30)[0] if not item.event]
    assert len(spool.read("a", 1, 1_000, 1 << 20, events=True)[0]) == 100
    assert dropped == 900 - len(reports) > 0
    assert seqs(reports)[-1] == 999
    assert spool.counters().dropped_reports == dropped
    assert spool.counters().dropped_events == 0


def test_events_go_when_there_is_nothing_else_to_drop() -> None:
    spool = database(mib=0.25)
    dropped = 0
    for seq in range(1, 3_001):
        dropped += spool.commit(Commit([event(seq)]), START_MS).events
    assert dropped == spool.counters().dropped_events > 0
    assert seqs(spool.read("a", 1, 9_999, 1 << 20)[0])[-1] <= 3_000
    assert spool.held()["a"] == ranges(a=[(dropped + 1, 3_000)])["a"]


def test_what_is_older_than_the_limit_is_dropped_whatever_the_order_of_times() -> None:
    spool = database(age_ms=HOUR_MS)
    old = report(2)._replace(time_ms=START_MS - 2 * HOUR_MS)
    dropped = spool.commit(Commit([old, report(3)]), START_MS)
    assert dropped.ranges == ranges(a=[(2, 2)])
    assert (dropped.reports, dropped.events) == (1, 0)


def test_dead_letters_do_not_push_out_what_is_still_wanted() -> None:
    spool = database(mib=1)
    spool.commit(Commit([report(seq, padding=4_000) for seq in range(1, 201)]), START_MS)
    spool.commit(Commit(refusals=[Refused(ranges(a=[(1, 200)]), "malformed")]), START_MS)
    dropped = spool.commit(Commit([report(seq, padding=4_000) for seq in range(201, 301)]), START_MS)
    assert dropped.reports == 0
    assert spool.held() == ranges(a=[(201, 300)])


def test_layouts_that_no_report_needs_are_forgotten(tmp_path: Path) -> None:
    spool = database(tmp_path / "s")
    for seq in range(1, 101):
        spool.commit(Commit([report(seq, devices=seq)], [ranges(a=[(1, seq - 1)])] if seq > 1 else []), START_MS)
    assert spool.read("a", 1, 100, 1 << 20)[0] == [report(100, devices=100)]
    spool.close()
    with sqlite3.connect(tmp_path / "s") as db:
        assert db.execute("SELECT count(*) FROM layout").fetchone()[0] <= 17
    db.close()


def test_a_flipped_byte_costs_one_report_and_is_counted(tmp_path: Path) -> None:
    spool = database(tmp_path / "s")
    spool.commit(Commit([report(1), report(2), report(3)]), START_MS)
    spool.close()
    with sqlite3.connect(tmp_path / "s") as db:
        body = bytearray(report(2).body)
        body[-1] ^= 1
        db.execute("UPDATE report SET body = ? WHERE body = ?", (bytes(body), report(2).body))
    db.close()
    spool = database(tmp_path / "s")
    items, until = spool.read("a", 1, 3, 1 << 20)
    assert (seqs(items), until) == ([1, 3], 3)
    assert spool.counters().damaged == 1
    assert spool.held() == ranges(a=[(1, 1), (3, 3)])
    spool.close()


def test_a_report_whose_layout_is_damaged_is_removed_not_sent(tmp_path: Path) -> None:
    spool = database(tmp_path / "s")
    spool.commit(Commit([report(1)]), START_MS)
    spool.close()
    with sqlite3.connect(tmp_path / "s") as db:
        db.execute("UPDATE layout SET body = ?", (layout(2).SerializeToString(),))
        db.execute("UPDATE layout SET hash = ?", (b"other",))
    db.close()
    with sqlite3.connect(tmp_path / "s") as db:
        broken = layout(2)
        broken.hash = b"not its own"
        db.execute("UPDATE layout SET body = ?", (broken.SerializeToString(),))
    db.close()
    spool = database(tmp_path / "s")
    assert spool.read("a", 1, 1, 1 << 20) == ([], 1)
    assert spool.counters().damaged == 1
    spool.close()


def test_a_report_whose_row_names_another_layout_is_removed_not_sent(tmp_path: Path) -> None:
    spool = database(tmp_path / "s")
    spool.commit(Commit([report(1, devices=1), report(2, devices=2), report(3, devices=1)]), START_MS)
    spool.close()
    with sqlite3.connect(tmp_path / "s") as db:
        db.execute("UPDATE report SET layout = 3 - layout WHERE number % 16 = 3")
    db.close()
    spool = database(tmp_path / "s")
    assert seqs(spool.read("a", 1, 3, 1 << 20)[0]) == [1, 2]
    assert spool.counters().damaged == 1
    spool.close()


@pytest.mark.parametrize("name", ["b", "another", ""])
def test_what_is_of_an_epoch_whose_name_was_falsified_is_removed_not_sent(name: str, tmp_path: Path) -> None:
    spool = database(tmp_path / "s")
    spool.commit(Commit([report(1), event(2)]), START_MS)
    spool.close()
    with sqlite3.connect(tmp_path / "s") as db:
        db.execute("UPDATE epoch SET name = ?", (name,))
    db.close()
    spool = database(tmp_path / "s")
    assert spool.read(name, 1, 9, 1 << 20) == ([], 9)
    assert spool.counters().damaged == 2
    spool.close()


def test_rows_of_the_format_before_are_read(tmp_path: Path) -> None:
    spool = database(tmp_path / "s")
    spool.commit(Commit([report(1), event(2)]), START_MS)
    spool.close()
    with sqlite3.connect(tmp_path / "s") as db:
        for table, item in (("report", report(1)), ("event", event(2))):
            db.execute(f"UPDATE {table} SET crc = ?", (crc32(item.body),))
        db.execute("PRAGMA user_version = 1")
    db.close()
    spool = database(tmp_path / "s")
    assert spool.read("a", 1, 9, 1 << 20) == ([report(1), event(2)], 9)
    assert not any(spool.counters())
    spool.close()


def test_a_file_of_a_newer_agent_is_not_touched(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s") as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("CREATE TABLE other (a)")
    db.close()
    before = (tmp_path / "s").read_bytes()
    with pytest.raises(SpoolNewer, match="format 99, this one knows 2"):
        database(tmp_path / "s")
    assert (tmp_path / "s").read_bytes() == before


def test_cut_anywhere_in_the_last_commit_it_holds_all_commits_before(tmp_path: Path) -> None:
    spool = database(tmp_path / "s")
    for seq in range(1, 6):
        spool.commit(Commit([report(seq)]), START_MS)
    whole = (tmp_path / "s-wal").stat().st_size
    spool.commit(Commit([report(6)]), START_MS)
    log = (tmp_path / "s-wal").read_bytes()
    file = (tmp_path / "s").read_bytes()
    spool.close()
    cut = tmp_path / "cut"
    for length in [*range(whole, len(log), 31), len(log) - 1, len(log)]:
        shutil.rmtree(cut, ignore_errors=True)
        cut.mkdir()
        (cut / "s").write_bytes(file)
        (cut / "s-wal").write_bytes(log[:length])
        again = database(cut / "s")
        last = 6 if length == len(log) else 5
        assert again.recovered == ranges(a=[(1, last)]), f"cut at byte {length} of {len(log)}"
        again.commit(Commit([report(7)]), START_MS)
        again.close()
