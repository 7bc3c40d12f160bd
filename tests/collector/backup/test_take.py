"""The copy of a state folder beside whoever writes to it: each row and each committed range once, or not at all."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fallow_collector.alerts.settings import AlertsSettings, ReceiverSettings
from fallow_collector.backup import take
from fallow_collector.backup.errors import BackupError
from fallow_collector.backup.outside import outside
from fallow_collector.config import AuthSettings, Settings, StateSettings, StoreSettings, TlsSettings
from fallow_collector.stores.influx.settings import InfluxSettings
from tests.collector.stores.contract import GPU, NODE, ask, seconds
from tests.collector.stores.embedded import writer
from tests.collector.stores.embedded.conftest import Place
from tests.collector.stores.embedded.test_crash import writing


def a_state(folder: Path) -> None:
    """What a folder needs to be taken for a state folder."""
    with closing(sqlite3.connect(folder / "state.sqlite")) as connection:
        connection.execute("CREATE TABLE things (name TEXT)")
        connection.execute("INSERT INTO things VALUES ('a')")
        connection.commit()


def test_copies_of_a_store_that_writes_closes_and_compacts_all_the_time_are_each_whole(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    a_state(state)
    whole = closed = 0
    with writing(state / "store", 0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        for turn in range(12):
            for _ in range(25):
                acknowledged = int(process.stdout.readline())
            with take.snapshot(state, series=True) as copy:
                place = Place(tmp_path / f"copy-{turn}")
                shutil.copytree(copy / "store", place.directory)
            store, committed = place.open()
            ((first, last),) = committed[NODE]
            assert first == 0
            assert last >= acknowledged
            for uuid in (GPU.uuid, writer.OTHER.uuid):
                table = store.history(ask("power_watts", end=1e9, uuid=uuid))
                assert seconds(table) == [number * writer.SECONDS_PER_BATCH for number in range(last + 1)]
            assert store.facts()["quarantined_files_total"] == 0
            whole += 1
            closed = max(closed, int(store.facts()["slice_files"] + store.facts()["hour_files"]))
            place.close()
    assert (whole, closed > 0) == (12, True)


def test_what_a_killed_backup_left_is_removed_and_nothing_else_is_copied_but_what_is_state(tmp_path: Path) -> None:
    a_state(tmp_path)
    (tmp_path / "backup-killed").mkdir()
    for name in ("lock", "state.sqlite-wal.txt", "state.sqlite.damaged-1", "state.sqlite.schema-2", "ca.pem"):
        (tmp_path / name).write_text(name)
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "key.pem").write_text("key")
    with take.snapshot(tmp_path, series=True) as copy:
        assert take.names(copy) == ["ca.pem", "certs/key.pem", "state.sqlite", "state.sqlite-wal.txt"]
        assert (copy / "certs" / "key.pem").read_text() == "key"
    assert not list(tmp_path.glob("backup-*"))


def test_of_two_backups_at_once_the_second_says_who_is_at_it_and_disturbs_nothing(tmp_path: Path) -> None:
    a_state(tmp_path)
    with take.snapshot(tmp_path, series=True) as copy:
        told = f"process {os.getpid()} takes a backup of {tmp_path} now"
        with pytest.raises(BackupError, match=told), take.snapshot(tmp_path, series=True):
            pass
        assert take.names(copy) == ["state.sqlite"]
    with take.snapshot(tmp_path, series=True) as copy:
        assert take.names(copy) == ["state.sqlite"]


def test_what_the_configuration_names_outside_the_state_folder_is_told(tmp_path: Path) -> None:
    names = ("state/tls/collector.pem", "tokens.toml", "rules.toml", "hook", "state/rules.toml")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    pair, tokens, rules, hook, inside = (str(tmp_path / name) for name in names)
    settings = Settings(
        state=StateSettings(dir=str(tmp_path / "state")), tls=TlsSettings(cert=pair, key=pair),
        auth=AuthSettings(tokens_file=tokens), alerts=AlertsSettings(
            rules=(rules, inside), receivers=(ReceiverSettings(name="ops", type="slack", url_file=hook),)
        ),
        store=StoreSettings(influx=InfluxSettings(token_file=str(tmp_path / "none"))),
    )
    assert outside(settings) == [Path(hook), Path(rules), Path(tokens)]


def test_a_catalogue_that_names_a_file_that_is_lost_says_so(tmp_path: Path) -> None:
    a_state(tmp_path)
    for folder in ("hot", "parquet"):
        (tmp_path / "store" / folder).mkdir(parents=True)
    with closing(sqlite3.connect(tmp_path / "store" / "catalogue.sqlite")) as connection:
        connection.execute("CREATE TABLE file (name TEXT)")
        connection.execute("INSERT INTO file VALUES ('gone.parquet')")
        connection.commit()
    with pytest.raises(BackupError, match="--without-series"), take.snapshot(tmp_path, series=True):
        pass
    with take.snapshot(tmp_path, series=False) as copy:
        assert take.names(copy) == ["state.sqlite"]
