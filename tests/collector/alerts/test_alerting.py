"""Alerts on disk: kills, damage, a disk that takes nothing; dead letters, and what is shown."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fallow_collector.alerts import listing
from fallow_collector.alerts.attempted import Attempted
from fallow_collector.alerts.changes import Changes
from fallow_collector.alerts.file import FILE, AlertFile
from fallow_collector.alerts.measures import measures
from fallow_collector.alerts.settings import AlertsSettings
from fallow_collector.state import StateError
from fallow_proto.alerts import SilenceWanted
from tests.collector.alerts.timeline import Timeline, receiver

DAY_S = 86400.0


def ticked(line: Timeline, now: float) -> None:
    line.now = now
    asyncio.run(line.tick())


def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.collector.alerts.timeline import Timeline\n"
        "line = Timeline(Path(sys.argv[1]))\n"
        "line.at(0).fire('DeviceHot', uuid='g0')\n"
        "line.down.add('ops')\n"
        "asyncio.run(line.play(20))\n"
        "print(line.alerting.waiting('ops', 1e6).notification.id, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=Path(__file__).parents[3], capture_output=True, text=True,
        check=False, timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    line = Timeline(tmp_path)
    waiting = line.alerting.waiting("ops", 1e6)
    assert waiting is not None
    assert waiting.notification.id == done.stdout.strip()
    assert waiting.attempts == 2
    (alert,) = line.alerting.alerts
    assert alert.state == "firing"


def test_a_damaged_file_is_put_aside_and_what_fires_is_told_anew(tmp_path: Path) -> None:
    (tmp_path / FILE.name).write_bytes(b"no database" * 1000)
    line = Timeline(tmp_path)
    assert line.file.damaged is not None
    line.at(0).fire("DeviceHot", uuid="g0")
    line.want_between(10, 10, firing=["DeviceHot g0"])
    line.run(20)


def test_a_row_that_cannot_be_read_is_told_with_what_to_do(tmp_path: Path) -> None:
    line = Timeline(tmp_path)
    line.file._connection.execute("INSERT INTO alerts VALUES ('x', CAST('{}' AS BLOB))")
    with pytest.raises(StateError, match="move it away to start without it"):
        line.kill()


class FullDisk(AlertFile):
    """full: it takes nothing. written: what it was given."""

    full = False

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.written: list[Changes] = []

    def write(self, changes: Changes, clock_s: float) -> None:
        self.written.append(changes)
        if self.full:
            self._connection.execute("PRAGMA query_only = ON")
        try:
            super().write(changes, clock_s)
        finally:
            self._connection.execute("PRAGMA query_only = OFF")


@pytest.fixture
def line(tmp_path: Path) -> Timeline:
    line = Timeline(tmp_path)
    line.file.close()
    line.file = full = FullDisk(tmp_path)
    line.alerting._file = full
    return line


def test_nothing_is_told_that_is_not_on_disk_and_nothing_is_lost_when_it_is_again(line: Timeline) -> None:
    assert isinstance(line.file, FullDisk)
    line.at(0).fire("DeviceHot", uuid="g0")
    line.at(5).do(lambda: setattr(line.file, "full", True))
    line.at(50).do(lambda: setattr(line.file, "full", False))
    line.want_between(50, 50, firing=["DeviceHot g0"], reason="first notification")
    asyncio.run(line.play(40))
    assert "check the disk of [state] dir" in line.alerting.problem
    line.run(60)
    assert line.alerting.problem == ""


def test_a_silence_that_the_disk_does_not_take_is_none(line: Timeline) -> None:
    assert isinstance(line.file, FullDisk)
    line.file.full = True
    wanted = SilenceWanted(matchers=["uuid=g0"], comment="", for_s=60.0)
    with pytest.raises(StateError, match="alerts cannot be kept"):
        asyncio.run(line.alerting.silence(wanted, line.wall))
    assert line.alerting.silences() == []
    line.file.full = False
    made = asyncio.run(line.alerting.silence(wanted, line.wall))
    line.file.full = True
    with pytest.raises(StateError):
        asyncio.run(line.alerting.end_silence(made.id, line.wall))
    assert line.alerting.silences() == [made]
    line.file.full = False
    ticked(line, 1)
    line.kill()
    assert line.alerting.silences() == [made]


def test_what_did_not_change_is_not_written(line: Timeline) -> None:
    assert isinstance(line.file, FullDisk)
    line.at(0).fire("DeviceHot", uuid="g0")
    asyncio.run(line.play(20))
    line.file.written.clear()
    asyncio.run(line.play(30))
    assert len(line.file.written) == 10
    assert not any(line.file.written)


def test_a_dead_letter_is_kept_for_a_week_and_counted_for_a_day(tmp_path: Path) -> None:
    line = Timeline(tmp_path)
    line.at(0).fire("DeviceHot", uuid="g0")
    line.down.add("ops")
    asyncio.run(line.play(10))
    waiting = line.alerting.waiting("ops", 100.0)
    assert waiting is not None
    asyncio.run(line.alerting.dead(waiting.notification.id, "it says 404"))
    assert line.alerting.waiting("ops", 100.0) is None
    assert line.alerting.dead_letters("ops") == 1
    line.kill()
    assert line.alerting.dead_letters("ops") == 1
    ((row,),) = line.file._connection.execute("SELECT row FROM dead")
    assert msgspec.json.decode(row)["notification"]["alerts"][0]["labels"]["uuid"] == "g0"
    ticked(line, DAY_S + 200)
    assert line.alerting.dead_letters("ops") == 0
    assert line.file._connection.execute("SELECT count(*) FROM dead").fetchone() == (1,)
    ticked(line, 7 * DAY_S + 200)
    assert line.file._connection.execute("SELECT count(*) FROM dead").fetchone() == (0,)


def test_what_was_given_up_is_told_at_the_next_repeat(tmp_path: Path) -> None:
    line = Timeline(tmp_path, settings=AlertsSettings(receivers=(receiver(),), repeat_interval_s=300.0))
    line.at(0).fire("DeviceHot", uuid="g0")
    line.down.add("ops")
    asyncio.run(line.play(10))
    waiting = line.alerting.waiting("ops", 100.0)
    assert waiting is not None
    asyncio.run(line.alerting.dead(waiting.notification.id, "it says 404"))
    line.down.clear()
    line.want_between(310, 310, firing=["DeviceHot g0"], reason="repeat interval elapsed")
    line.run(400)


def test_an_alertmanager_is_told_of_all_that_stands_silenced_or_not(tmp_path: Path) -> None:
    push = msgspec.structs.replace(receiver("am", ("alertname=DeviceHot",)), type="alertmanager")
    line = Timeline(tmp_path, settings=AlertsSettings(receivers=(push,)))
    line.at(0).fire("DeviceHot", uuid="g0")
    line.at(0).fire("DeviceHot", uuid="g1")
    line.at(0).fire("NodeLost", node="n1")
    line.at(0).silence("uuid=g0", for_s=1e6)
    line.at(10).resolve("DeviceHot", uuid="g1")
    asyncio.run(line.play(20))
    assert {alert.labels["uuid"]: alert.state for alert in line.alerting.standing("am")} == {
        "g0": "firing", "g1": "resolved",
    }
    ticked(line, 910)
    assert [alert.labels["uuid"] for alert in line.alerting.standing("am")] == ["g0"]


def test_alerts_rules_receivers_and_silences_are_shown_as_they_are(tmp_path: Path) -> None:
    settings = AlertsSettings(receivers=(msgspec.structs.replace(receiver(), url="https://u:p@h.example:8443/s3cret"),))
    line = Timeline(tmp_path, settings=settings)
    line.at(0).fire("DeviceHot", uuid="g0")
    line.at(0).silence("uuid=g0", for_s=60.0)
    asyncio.run(line.play(20))
    (alert,) = listing.alerts(line.alerting, line.alerting.alerts, line.wall)
    (silence,) = listing.silences(line.alerting, line.wall)
    assert (alert.state, alert.active_since, alert.silenced_by) == ("firing", "2023-11-14T22:13:20.000Z", [silence.id])
    assert (silence.state, silence.matchers) == ("active", ['uuid="g0"'])
    assert [(each.name, each.firing) for each in listing.rules(line.alerting)] == [("DeviceHot", 1), ("NodeLost", 0)]
    (shown,) = listing.receivers(line.alerting, settings, {"ops": Attempted("ops", "", lambda: line.wall)})
    assert (shown.address, shown.waiting, shown.problem) == ("https://h.example:8443", 0, None)
    values = {(each.name, *each.labels.values()): each.value for each in measures(line.alerting, settings)}
    assert values["fallow_alerts", "firing", "warning"] == 1
    assert values["fallow_notifications_delivered_total", "ops"] == 0
