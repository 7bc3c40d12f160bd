"""Watches and recordings of the real collector, with simulated nodes on the real wire."""

import gzip
import json
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from fallow_collector.replay import frames
from fallow_collector.replay.frames import encoded, read
from tests.collector.watch.fleets import Client
from tests.e2e.programs import BIN, DEADLINE_S, Collector, Sim, environment, until

MANY = ("--nodes", "12", "--devices", "4")
"""Simulated load follows the wall clock; of so many devices some are idle at any hour, of a dozen often none."""
QUICK = ("idle.confirm_s = 3.0", "idle.evidence_s = 10.0", "idle.confirm_readings = 3")


class Watch:
    """An open watch, read by a thread until it ends."""

    def __init__(self, collector: Collector, last_id: str = "") -> None:
        self.client = Client()
        self.problem = ""
        self._http = httpx.Client(base_url=collector.url, trust_env=False, timeout=DEADLINE_S)
        self._headers = {"last-event-id": last_id} if last_id else {}
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        rest = b""
        try:
            with self._http.stream("GET", "/api/v1/watch", headers=self._headers) as answer:
                for chunk in answer.iter_bytes():
                    events, separator, rest = (rest + chunk).rpartition(b"\n\n")
                    self.client.hear(events + separator)
        except httpx.HTTPError as error:
            self.problem = str(error) or type(error).__name__

    def ended(self) -> bool:
        self._thread.join(DEADLINE_S)
        self._http.close()
        return not self._thread.is_alive()

    def kinds(self) -> list[str]:
        return [change.kind for change in self.client.changes]

    def phases(self) -> dict[str, str]:
        return {uuid: device.phase for uuid, device in list(self.client.devices.items())}


def test_a_watch_shows_what_a_list_shows_and_says_so_when_the_collector_has_restarted(tmp_path: Path) -> None:
    with Collector(tmp_path, *QUICK) as collector, Sim(tmp_path, collector.grpc, "--nodes", "3", "--devices", "4"):
        watch = Watch(collector)
        until(lambda: len(watch.client.devices) >= 12, "all devices are told")
        until(lambda: "idle" in watch.phases().values() or "unmanaged" in watch.phases().values(), "some are judged")
        until(
            lambda: watch.phases() == {uuid: device.phase for uuid, device in collector.devices().items()},
            "the watch shows what the list shows",
        )
        last_id = watch.client.last_id
        collector.stop()
        assert watch.ended()
        assert watch.problem == "", "a stop ends a watch as it should end"
        collector.start()
        resumed = Watch(collector, last_id)
        assert resumed.ended(), "a watch of another epoch is ended"
        assert resumed.kinds() == ["resync"]


def test_what_a_collector_recorded_comes_out_identical_and_another_judgement_does_not(tmp_path: Path) -> None:
    with Collector(tmp_path, *QUICK) as collector, Sim(tmp_path, collector.grpc, "--nodes", "3", "--devices", "4"):
        until(lambda: len(collector.devices()) >= 12, "all devices are seen")
        file = tmp_path / "recording.gz"
        with httpx.stream(
            "GET", f"{collector.url}/api/v1/recording?for_s=4", trust_env=False, timeout=DEADLINE_S
        ) as answer:
            assert answer.status_code == 200
            refused = httpx.get(f"{collector.url}/api/v1/recording?for_s=1", trust_env=False, timeout=DEADLINE_S)
            change = {"nodes": ["sim-00000"], "reason": "something changes while it records", "owner": "tests"}
            cordoned = httpx.post(f"{collector.url}/api/v1/cordons", json=change, trust_env=False, timeout=DEADLINE_S)
            assert cordoned.is_success, cordoned.text
            file.write_bytes(answer.read())
        assert (refused.status_code, "one at a time" in refused.text) == (503, True)
    done = replayed(file, "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["difference"], found["ended"]) == (0, None, "complete")
    assert found["devices"] >= 12
    assert found["snapshots"] > 4
    assert found["last_revision"] > found["first_revision"]
    shown = [frame for frame in read(file) if isinstance(frame, frames.Shown) and frame.records]
    lie = tmp_path / "lie.gz"
    lie.write_bytes(gzip.compress(b"".join(
        encoded(frame) for frame in read(file) if frame != shown[0]
    )))
    done = replayed(lie)
    assert done.returncode == 1
    assert "DIFFERENT" in done.stdout


@pytest.mark.parametrize("file", ["/nonexistent", __file__])
def test_what_is_no_recording_fails_with_its_reason(file: str) -> None:
    done = replayed(Path(file))
    assert done.returncode == 1
    assert file in done.stderr
    assert "Traceback" not in done.stderr


def replayed(file: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(BIN / "fallow"), "replay", str(file), *words], env=environment(), capture_output=True, text=True,
        check=False, timeout=DEADLINE_S, stdin=subprocess.DEVNULL,
    )


def test_where_only_the_client_is_installed_replay_says_what_is_missing() -> None:
    without = "import sys; sys.modules['numpy'] = None; from fallow_client.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", without, "replay", "file.gz"], env=environment(), capture_output=True, text=True,
        check=False, timeout=DEADLINE_S, stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    assert "numpy is not installed here; install fallow[collector]" in done.stderr


def test_a_watch_names_the_lease_that_a_device_is_in(tmp_path: Path) -> None:
    with Collector(tmp_path, *QUICK) as collector, Sim(tmp_path, collector.grpc, *MANY):
        watch = Watch(collector)
        until(lambda: "idle" in watch.phases().values(), "a device is idle")
        made = httpx.post(f"{collector.url}/api/v1/leases", json={"request": {"count": 1}}, trust_env=False)
        assert made.status_code == 201, made.text
        (member,) = made.json()["devices"]
        until(lambda: watch.phases()[member["uuid"]] == "leased", "the watch shows the lease")
        assert watch.client.devices[member["uuid"]].lease_id == made.json()["lease_id"]
        collector.stop()
        assert watch.ended()
