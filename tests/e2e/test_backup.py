"""Backup of a collector under load, restored elsewhere: the same devices, leases and history; and older programs."""

import shutil
import sqlite3
import stat
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from fallow_collector.alerts import file as alerts
from fallow_collector.leases import file as leases
from fallow_collector.state.file import Kind
from fallow_collector.state.state import FILE
from tests.e2e.identity import IssuingCollector, Newcomer
from tests.e2e.programs import BIN, DEADLINE_S, Collector, Sim, environment, until

MANY = ("--nodes", "12", "--devices", "4")
HOST = ('readers.enabled = ["host"]', "interval_s = 0.5")
QUICK = ("idle.confirm_s = 3.0", "idle.evidence_s = 10.0", "idle.confirm_readings = 3")


def program(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """fallow-collector with the configuration of the Collector of this folder."""
    return subprocess.run(
        [str(BIN / "fallow-collector"), *words, "--config", str(folder / "collector.toml")],
        env=environment(), capture_output=True, text=True, check=False, timeout=DEADLINE_S,
    )


def done(folder: Path, *words: str) -> str:
    ended = program(folder, *words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def refused(folder: Path, *words: str) -> str:
    ended = program(folder, *words)
    assert ended.returncode == 1, ended.stdout
    return ended.stderr


def history(collector: Collector, uuid: str, end: float) -> dict[float, Any]:
    """Rows by time, up to a moment."""
    answer = httpx.get(f"{collector.url}/api/v1/history", trust_env=False, timeout=DEADLINE_S, params={
        "uuid": uuid, "columns": "power_watts", "start": "-1h", "end": str(end), "step": "0",
    })
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["rows"])


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    made = tmp_path / "elsewhere"
    made.mkdir()
    return made


def test_a_backup_under_load_is_the_same_collector_elsewhere(tmp_path: Path, elsewhere: Path) -> None:
    backup = tmp_path / "backup.tar"
    with Collector(tmp_path, *QUICK) as collector, Sim(tmp_path, collector.grpc, *MANY):
        until(lambda: len(collector.devices()) >= 48, "all devices are there")
        until(lambda: _has_idle(collector), "some are idle")
        lease = collector.fallow_json("reserve", "--holder", "alice", "--ttl", "1h")
        (leased,) = [device["uuid"] for device in lease["devices"]]
        node = lease["devices"][0]["node"]
        collector.fallow("cordon", f"node:{node}", "--owner", "ops", "--reason", "fan")
        until(lambda: len(history(collector, leased, 2e9)) >= 5, "rows are in the store")
        known = set(history(collector, leased, 2e9))

        assert "MiB" in done(tmp_path, "backup", str(backup))
        devices = set(collector.devices())
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
        assert not list((tmp_path / "collector").glob("backup-*")), "nothing is left behind"
        until(lambda: set(history(collector, leased, 2e9)) - known, "the collector goes on")

        until(lambda: _has_idle(collector), "another one is idle")
        later = collector.fallow_json("reserve", "--holder", "bob", "--ttl", "1h")
        assert "another collector uses this state folder" in refused(tmp_path, "restore", str(backup))
        rows = history(collector, leased, 2e9)

    restored = Collector(elsewhere, *QUICK)
    assert "start the collector" in done(elsewhere, "restore", str(backup))
    assert "is not empty" in refused(elsewhere, "restore", str(backup))
    with restored:
        assert set(restored.devices()) == devices
        (there,) = restored.fallow_json("leases")["items"]
        assert (there["lease_id"], there["fencing_token"]) == (lease["lease_id"], lease["fencing_token"])
        assert restored.devices()[leased].phase == "leased"
        assert "fan" in restored.fallow("cordons")
        found = history(restored, leased, 2e9)
        assert known <= found.keys(), "what was stored before the backup is in it"
        assert found.items() <= rows.items(), "and nothing that was not"
        with Sim(elsewhere, restored.grpc, *MANY):
            restored.fallow("uncordon", f"node:{node}", "--owner", "ops")
            until(lambda: _has_idle(restored), "some are idle")
            new = restored.fallow_json("reserve", "--holder", "carol", "--ttl", "1h")
            assert new["fencing_token"] > max(lease["fencing_token"], later["fencing_token"])


def test_after_a_restore_the_same_nodes_are_let_in_the_same_are_not_and_silences_are_there(
    tmp_path: Path, elsewhere: Path
) -> None:
    backup = tmp_path / "backup.tar"
    collector = IssuingCollector(tmp_path)
    good, bad, late = (Newcomer(tmp_path / name, collector, name) for name in ("good", "bad", "late"))
    with collector:
        for each in (good, bad):
            assert each.enrol(collector.join("--node", each.node)).returncode == 0
        pending = collector.join("--node", "late")
        collector.certs("revoke", "bad")
        silence = httpx.post(
            f"{collector.url}/api/v1/silences", verify=collector.context, trust_env=False,
            json={"matchers": ['node="good"'], "comment": "fans", "for_s": 3600},
        ).raise_for_status().json()
        told = done(tmp_path, "backup", str(backup))
        assert f"the configuration is not in it; keep with it {tmp_path / 'collector.toml'}" in told
    shutil.rmtree(collector.state)

    assert "start the collector" in done(tmp_path, "restore", str(backup))
    with collector:
        assert [one["id"] for one in collector.get("/api/v1/silences")["items"]] == [silence["id"]]
        with good.agent(*HOST), bad.agent(*HOST) as refused:
            until(lambda: collector.is_connected("good"), "who had a certificate streams")
            until(lambda: "was revoked" in refused.log.read_text(), "who was revoked is told so")
        assert late.enrol(pending).returncode == 0, "a join token is good for what it was good for"
        assert "was used for node late" in late.enrol(pending).stderr
    assert [leaf.revoked for leaf in collector.leaves("bad")] == [True]


def _has_idle(collector: Collector) -> bool:
    return any(
        device.phase == "idle" and device.confidence == "high" and device.device_class == "intelligent"
        for device in collector.devices().values()
    )


def test_a_stopped_collector_is_backed_up_without_its_series(tmp_path: Path, elsewhere: Path) -> None:
    backup = tmp_path / "backup.tar"
    with Collector(tmp_path) as collector, Sim(tmp_path, collector.grpc, "--nodes", "1", "--devices", "2"):
        until(lambda: len(collector.devices()) >= 2, "the devices are there")
        uuid = next(iter(collector.devices()))
        until(lambda: history(collector, uuid, 2e9), "rows are in the store")
    done(tmp_path, "backup", str(backup), "--without-series")
    with tarfile.open(backup) as tar:
        names = tar.getnames()
    assert {"state.sqlite", "leases.sqlite", "manifest.json"} <= set(names)
    assert not [name for name in names if name.startswith("store/") or name == "lock"]
    assert "is there already" in refused(tmp_path, "backup", str(backup))

    other = Collector(elsewhere)
    done(elsewhere, "restore", str(backup))
    with other:
        assert uuid in other.devices()
        assert history(other, uuid, 2e9) == {}


def test_a_restore_of_what_is_damaged_leaves_the_folder_as_it_was(tmp_path: Path, elsewhere: Path) -> None:
    backup = tmp_path / "backup.tar"
    with Collector(tmp_path):
        pass
    done(tmp_path, "backup", str(backup))
    content = bytearray(backup.read_bytes())
    content[len(content) // 3] ^= 1
    backup.write_bytes(content)
    Collector(elsewhere)
    assert "take another backup" in refused(elsewhere, "restore", str(backup))
    assert [path.name for path in (elsewhere / "collector").iterdir()] == ["lock"]
    assert "no state.sqlite" in refused(elsewhere, "backup", str(elsewhere / "none.tar"))
    assert not (elsewhere / "none.tar").exists()


@pytest.mark.parametrize("kind", [FILE, leases.FILE, alerts.FILE], ids=lambda kind: kind.name)
def test_an_older_collector_refuses_a_newer_file_and_leaves_it_alone(kind: Kind, tmp_path: Path) -> None:
    with Collector(tmp_path):
        pass
    state = tmp_path / "collector"
    newer = len(kind.migrations) + 1
    with closing(sqlite3.connect(state / kind.name)) as connection:
        connection.execute(f"PRAGMA user_version = {newer}")
    before = (state / kind.name).read_bytes()
    ended = program(tmp_path)
    assert ended.returncode == 1
    assert f"has schema {newer}, expected {newer - 1} or older" in ended.stderr
    assert "install that version" in ended.stderr
    assert (state / kind.name).read_bytes() == before
