import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallow_collector.stores.influx.ledger import Ledger
from fallow_collector.stores.store import Source, StoreError
from fallow_proto.ranges import RangeSet
from tests.collector.stores.influx.batches import span

DAY_S = 86_400.0


def reopened(path: Path) -> dict[Source, RangeSet]:
    ledger = Ledger(path)
    try:
        return ledger.open()
    finally:
        ledger.close()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 8), st.booleans()), max_size=40))
def test_ranges_are_merged_as_a_set_would_and_survive(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]]
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "influx.db"
    ledger = Ledger(path)
    ledger.open()
    expected: dict[Source, RangeSet] = {}
    for lo, length, other in steps:
        piece = span(lo, lo + length, epoch="e2" if other else "e1")
        ledger.add([piece], now=0)
        expected.setdefault(piece.source, RangeSet()).add(piece.lo, piece.hi)
    ledger.close()
    assert reopened(path) == expected
    for (pieces,) in sqlite_rows(path, "SELECT count(*) FROM range"):
        assert pieces == sum(len(list(ranges)) for ranges in expected.values())


def sqlite_rows(path: Path, text: str) -> list[tuple[int]]:
    database = sqlite3.connect(path)
    try:
        return database.execute(text).fetchall()
    finally:
        database.close()


def test_a_source_that_is_silent_for_months_is_forgotten_and_may_come_back(tmp_path: Path) -> None:
    path = tmp_path / "influx.db"
    ledger = Ledger(path)
    ledger.open()
    ledger.add([span(1, 9, epoch="old"), span(1, 5, epoch="kept")], now=0)
    ledger.add([span(6, 7, epoch="kept")], now=60 * DAY_S)
    ledger.add([span(8, 8, epoch="kept")], now=100 * DAY_S)
    ledger.add([span(4, 4, epoch="old")], now=100 * DAY_S)
    ledger.close()
    assert reopened(path) == {Source("n1", "kept"): RangeSet([(1, 8)]), Source("n1", "old"): RangeSet([(4, 4)])}


@pytest.mark.parametrize("damage", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_ledger_is_set_aside_and_all_is_wanted_again(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "influx.db"
    path.write_bytes(damage)
    assert reopened(path) == {}
    assert (tmp_path / "influx.db.damaged").read_bytes() == damage


def test_a_ledger_of_a_newer_collector_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "influx.db"
    reopened(path)
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(StoreError, match=r"influx\.db has schema 7, expected 1"):
        reopened(path)


def test_a_ledger_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"ledger .*file/influx\.db cannot be opened"):
        reopened(tmp_path / "file" / "influx.db")


def test_a_failed_transaction_leaves_nothing_and_works_again(tmp_path: Path) -> None:
    path = tmp_path / "influx.db"
    ledger = Ledger(path)
    ledger.open()
    other = sqlite3.connect(path, timeout=0)
    other.execute("CREATE TRIGGER full BEFORE INSERT ON range BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    with pytest.raises(StoreError, match="disk is full"):
        ledger.add([span(1, 5)], now=0)
    other.execute("DROP TRIGGER full")
    other.close()
    ledger.add([span(1, 5)], now=0)
    ledger.close()
    assert reopened(path) == {Source("n1", "e1"): RangeSet([(1, 5)])}
