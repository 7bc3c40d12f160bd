"""The collector's state file: what is kept, what damage costs, who may open it."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from fallow_collector.series import Source
from fallow_collector.state import BaselineRow, BootRow, ConditionRow, EventRow, SeenRow, State, StateError, before
from fallow_collector.state.file import RESTORING, StateInUse, StateNewer
from fallow_collector.state.rows import Tables
from fallow_collector.state.state import FILE

NAME, SCHEMA = FILE.name, len(FILE.migrations)

BASELINE = BaselineRow(
    uuid="gpu-0", key="nvidia|A100", floor_watts=61.5, floor_source="learned", limit_watts=None, base_memory_bytes=4e8,
    base_source="learned", ever_read="power_watts processes", clean_s=700.0, fitted_s=600.0, histogram=b"\x00\x01",
)
SEEN = SeenRow(
    uuid="gpu-0", node="node-1", site="default", present=True, declared=False, declared_class="", identity=b"{}"
)


def event(seq: int, identity: str = "event-1", **changed: object) -> EventRow:
    row = EventRow(
        node="node-1", epoch="epoch-a", id=identity, seq=seq, kind="reader_stuck", device="gpu-0", many=seq,
        first_ms=1000, last_ms=1000 + seq, message="the driver does not answer",
    )
    return row._replace(**changed)  # type: ignore[arg-type]


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.save_baselines([BASELINE])
    state.save_seen([SEEN])
    state.record([event(1)])
    state.close()
    again = State(tmp_path)
    assert again.load_baselines() == [BASELINE]
    assert again.load_seen() == [SEEN]
    assert again.events_of("gpu-0", 10) == [event(1)]
    assert again.event_numbers() == [(Source("node-1", "epoch-a"), 1)]
    assert again.damaged is None
    again.close()


def test_a_file_of_schema_2_keeps_its_events_and_takes_codes_from_then_on(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / NAME) as old:
        for statement in (*Tables.DEFINITIONS, *Tables.SINCE_2):
            old.execute(statement)
        old.execute(
            "INSERT INTO events VALUES ('node-1', 'epoch-a', 'event-1', 1, 'reader_stuck', 'gpu-0', 1, 1000, 1001, "
            "'the driver does not answer')"
        )
        old.execute("PRAGMA user_version = 2")
    old.close()
    state = State(tmp_path)
    xid = event(2, identity="event-2", kind="xid", code=79, source="kernel")
    state.record([xid])
    assert state.events_of("gpu-0", 10) == [xid, event(1)]
    assert (event(1).code, event(1).source) == (None, "")
    state.close()


def test_boots_and_conditions_are_there_after_a_restart_and_over_when_they_are(tmp_path: Path) -> None:
    state = State(tmp_path)
    hot, slow = ConditionRow("hot", "gpu-0", 1000), ConditionRow("slow", "gpu-0", 2000)
    state.save_health([BootRow("node-1", "boot-a")], [hot, slow], [])
    state.save_health([BootRow("node-1", "boot-b")], [], [hot])
    state.close()
    again = State(tmp_path)
    assert (again.load_boots(), again.load_conditions()) == ([BootRow("node-1", "boot-b")], [slow])
    again.close()


def test_events_of_a_time_and_of_kinds_are_found(tmp_path: Path) -> None:
    state = State(tmp_path)
    rows = [event(n, identity=f"event-{n}", last_ms=1000 * n, kind="xid" if n % 2 else "sxid") for n in range(1, 7)]
    state.record(rows)
    assert state.events_since(3000, ["xid"], 10) == [rows[2], rows[4]]
    assert state.events_since(0, ["xid", "sxid"], 2) == rows[4:]
    assert state.events_between("gpu-0", 2000, 5000, 2) == [rows[3], rows[2]]
    assert state.events_between("gpu-1", 0, 9000, 2) == []
    state.close()


def test_a_row_is_replaced_by_its_newer_self(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.save_baselines([BASELINE])
    state.save_baselines([BASELINE._replace(floor_watts=None, floor_source="none")])
    assert [row.floor_watts for row in state.load_baselines()] == [None]
    state.close()


def test_the_newest_of_an_event_wins_in_whatever_order_they_come(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.record([event(5), event(3)])
    state.record([event(4), event(1, identity="event-2"), event(2, epoch="epoch-b")])
    found = {(row.epoch, row.id): row.seq for row in state.events_of("gpu-0", 10)}
    assert found == {("epoch-a", "event-1"): 5, ("epoch-a", "event-2"): 1, ("epoch-b", "event-1"): 2}
    state.close()


def test_the_oldest_events_make_room(tmp_path: Path) -> None:
    state = State(tmp_path, events_kept=100)
    state.record([event(n, identity=f"event-{n}") for n in range(1, 10_101)])
    kept = state.events_of("gpu-0", 1000)
    assert [row.seq for row in kept] == list(range(10_100, 10_000, -1))
    state.close()


def test_a_retired_device_is_forgotten_and_its_events_stay(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.save_seen([SEEN, SEEN._replace(uuid="gpu-1")])
    state.save_baselines([BASELINE])
    state.record([event(1)])
    state.retire("gpu-0")
    assert [row.uuid for row in state.load_seen()] == ["gpu-1"]
    assert state.load_baselines() == []
    assert len(state.events_of("gpu-0", 10)) == 1
    state.close()


def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from fallow_collector.state import SeenRow, State\n"
        "state = State(Path(sys.argv[1]))\n"
        "state.save_seen([SeenRow('gpu-9', 'node-1', 'default', True, False, '', b'{}')])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    state = State(tmp_path)
    assert [row.uuid for row in state.load_seen()] == ["gpu-9"]
    state.close()


@pytest.mark.parametrize("damage", ["garbage", "middle", "short"])
def test_a_damaged_file_is_put_aside_loudly_and_a_new_one_made(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = State(tmp_path)
    state.save_seen([SEEN._replace(uuid=f"gpu-{n}") for n in range(2000)])
    state.close()
    path = tmp_path / NAME
    content = bytearray(path.read_bytes())
    if damage == "garbage":
        content[:] = os.urandom(len(content))
    elif damage == "middle":
        content[4096 : len(content) - 4096] = b"\xa5" * (len(content) - 8192)
    else:
        del content[5000:]
    path.write_bytes(content)
    state = State(tmp_path)
    assert state.load_seen() == []
    state.save_seen([SEEN])
    assert state.damaged is not None
    assert state.damaged.read_bytes() == bytes(content)
    assert "state file was damaged" in caplog.text
    state.close()


def test_only_a_few_damaged_files_are_kept(tmp_path: Path) -> None:
    for _ in range(6):
        State(tmp_path).close()
        (tmp_path / NAME).write_bytes(b"no database" * 1000)
    State(tmp_path).close()
    assert len(list(tmp_path.glob(f"{NAME}.damaged-*"))) == 3


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    State(tmp_path).close()
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    with pytest.raises(StateNewer, match=f"has schema {SCHEMA + 1}, expected {SCHEMA} or older"):
        State(tmp_path)
    assert list(tmp_path.glob("*damaged*")) == []


def test_a_second_collector_on_the_folder_is_refused(tmp_path: Path) -> None:
    state = State(tmp_path)
    with pytest.raises(StateInUse, match="another collector uses this state folder"):
        State(tmp_path)
    state.close()
    State(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_told_with_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"\[state\] dir = .* cannot be written"):
        State(tmp_path / "file" / "state")


def test_any_thread_may_write(tmp_path: Path) -> None:
    state = State(tmp_path)
    threads = [
        threading.Thread(target=state.save_seen, args=([SEEN._replace(uuid=f"gpu-{n}")],)) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(state.load_seen()) == 8
    state.close()


def test_others_may_not_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    State(folder).close()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600


def of_schema(directory: Path, version: int, changes: tuple[tuple[str, ...], ...]) -> None:
    """A file that an older version left, with an event in it."""
    with closing(sqlite3.connect(directory / NAME)) as old:
        for statement in (each for change in changes[:version] for each in change):
            old.execute(statement)
        columns = "node, epoch, id, seq, kind, device, many, first_ms, last_ms, message"
        old.execute(f"INSERT INTO events ({columns}) VALUES ('n', 'e', 'i', 1, 'xid', 'g', 1, 1, 1, 'm')")
        old.execute(f"PRAGMA user_version = {version}")
        old.commit()


def events_in(path: Path) -> tuple[int, list[str]]:
    """The schema of a file and the ids of its events."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        return version, [name for (name,) in connection.execute("SELECT id FROM events")]


def test_a_file_is_copied_before_it_is_migrated_and_the_newest_copies_stay(tmp_path: Path) -> None:
    for version in range(1, len(FILE.migrations)):
        (tmp_path / NAME).unlink(missing_ok=True)
        of_schema(tmp_path, version, FILE.migrations)
        State(tmp_path).close()
        assert events_in(tmp_path / f"{NAME}.schema-{version}") == (version, ["i"])
        assert events_in(tmp_path / NAME) == (len(FILE.migrations), ["i"])
    copies = {path.name for path in tmp_path.glob(f"{NAME}.schema-*")}
    assert copies == {f"{NAME}.schema-{n}" for n in range(1, len(FILE.migrations))[-before.KEPT:]}
    State(tmp_path).close()
    assert {path.name for path in tmp_path.glob(f"{NAME}.schema-*")} == copies  # nothing was migrated


def test_what_cannot_be_copied_is_not_migrated(tmp_path: Path) -> None:
    of_schema(tmp_path, 1, FILE.migrations)
    (tmp_path / f"{NAME}.schema-new").mkdir()
    with pytest.raises(StateError, match="cannot be copied before it is migrated"):
        State(tmp_path)
    assert events_in(tmp_path / NAME) == (1, ["i"])


KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from fallow_collector.state.file import connect
from fallow_collector.state.state import FILE

class Deadly(tuple):
    def __iter__(self):
        yield from tuple.__iter__(self)
        os.kill(os.getpid(), signal.SIGKILL)

*whole, last = FILE.migrations
connect(Path(sys.argv[1]), FILE._replace(migrations=(*whole, Deadly(last))))
"""


def test_a_collector_that_is_killed_in_the_middle_of_a_migration_leaves_a_file_that_starts(tmp_path: Path) -> None:
    of_schema(tmp_path, 2, FILE.migrations)
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_THE_MIDDLE, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert events_in(tmp_path / f"{NAME}.schema-2") == (2, ["i"])
    state = State(tmp_path)
    assert state.damaged is None
    assert [row.id for row in state.events_of("g", 10)] == ["i"]
    state.close()


def test_nothing_starts_on_a_restore_that_was_interrupted(tmp_path: Path) -> None:
    (tmp_path / RESTORING).mkdir()
    with pytest.raises(StateError, match="restore again"):
        State(tmp_path)
