"""Things in the folders of collector and agent that they have not put there: they say what they found, or pass it by,
and never write through it to somewhere else."""

import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from fallow_agent.spool.item import Commit
from fallow_agent.spool.spool import Spool
from tests.agent.builders import START_MS, report
from tests.e2e.programs import Collector, Program, until

NOBODY = 65_534


def link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "outside")


def folder(path: Path) -> None:
    path.mkdir()


def of_another_user(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of another user")
    path.touch()
    os.chown(path, NOBODY, NOBODY)


@pytest.mark.parametrize(("name", "put", "told"), [
    ("state.sqlite", link, "state.sqlite is a symbolic link, expected a file or nothing: move it away"),
    ("leases.sqlite-wal", link, "leases.sqlite-wal is a symbolic link, expected a file or nothing: move it away"),
    ("alerts.sqlite", folder, "alerts.sqlite is a folder, expected a file or nothing: move it away"),
    ("state.sqlite", of_another_user, f"state.sqlite belongs to user {NOBODY}, and this runs as 0: start it"),
])
def test_what_is_no_file_of_its_own_is_refused_with_what_it_is_and_nothing_is_written(
    name: str, put: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"")
    (tmp_path / "collector").mkdir(mode=0o700)
    put(tmp_path / "collector" / name)
    collector = Collector(tmp_path)
    Program.start(collector)
    assert collector.ended() == 1
    assert f"cannot start: {tmp_path / 'collector'}/{told}" in collector.tail()
    assert outside.read_bytes() == b""
    assert "Traceback" not in collector.tail()


def test_a_link_in_the_place_of_the_store_is_not_followed_and_once_it_is_away_the_store_opens(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "collector").mkdir(mode=0o700)
    store = tmp_path / "collector" / "store"
    store.symlink_to(outside)
    collector = Collector(tmp_path, "store.embedded.min_free_gib = 0")
    Program.start(collector)
    try:
        until(lambda: f"{store} is a symbolic link, expected a folder" in problems(collector), "it says what it found")
        assert list(outside.iterdir()) == []
        store.unlink()
        until(lambda: (store / "catalogue.sqlite").exists(), "the store opens")
        until(lambda: not problems(collector), "it is ready")
    finally:
        collector.stop()


def test_foreign_files_folders_and_links_among_its_own_stop_nothing_and_are_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    state = tmp_path / "collector"
    for name in ("", "store", "store/hot", "store/parquet", "store/spill"):
        (state / name).mkdir(mode=0o700, exist_ok=True)
    for place in (state, state / "store", state / "store" / "hot", state / "store" / "parquet"):
        (place / "notes.txt").write_text("mine")
        (place / "lost+found").mkdir()
        (place / "elsewhere").symlink_to(outside)
        (place / "hot-of-the-day.duckdb").write_text("mine")
        (place / "slice-mine.parquet").write_text("mine")
    (state / "store" / "spill" / "elsewhere").symlink_to(outside)
    before = sorted(path for path in state.rglob("*") if "spill" not in path.parts)
    collector = Collector(tmp_path, "store.embedded.min_free_gib = 0")
    with collector:
        assert problems(collector) == ""
    assert set(before) <= set(state.rglob("*"))
    assert (outside / "precious").read_text() == "mine"
    assert [path.name for path in outside.iterdir()] == ["precious"]


@pytest.mark.parametrize("name", ["spool.sqlite", "spool.sqlite-wal"])
def test_a_link_in_the_place_of_a_spool_is_not_followed_and_reports_wait_in_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"")
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / name).symlink_to(tmp_path / "outside")
    spool = Spool.open(tmp_path / "spool", 1 << 20, 3_600_000, now=0.0)
    spool.commit(Commit([report(1)]), START_MS, 0.0)
    assert f"{name} is a symbolic link, expected a file or nothing: move it away" in spool.problem
    assert [item.seq for item in spool.read("a", 1, 10, 1 << 20, 0.0)[0]] == [1]
    assert (tmp_path / "outside").read_bytes() == b""
    (tmp_path / "spool" / name).unlink()
    spool.commit(Commit(), START_MS, 60.0)
    assert spool.problem == ""
    spool.close()


def problems(collector: Collector) -> str:
    """Why the collector is not ready; empty: it is."""
    collector.check()
    try:
        answer = httpx.get(f"{collector.url}/readyz", trust_env=False)
    except httpx.TransportError:
        return "not listening yet"
    return "" if answer.is_success else str(answer.json())
