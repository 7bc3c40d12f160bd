"""The agent as a process: from readers to the wire, and every trouble that must not stop it."""

import os
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from fallow_agent.spool.database import Database
from fallow_agent.spool.item import Commit
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.builders import report
from tests.agent.certificates import Authority
from tests.agent.collector import Collector, wait_for
from tests.agent.process import AgentProcess

NOBODY = "127.0.0.1:1"


def spooled(folder: Path) -> int:
    """Reports and events in the spool of an agent that has ended."""
    with sqlite3.connect(folder / "spool.sqlite") as db:
        count = db.execute("SELECT (SELECT count(*) FROM report) + (SELECT count(*) FROM event)").fetchone()[0]
    db.close()
    return int(count)


def commit_time(folder: Path) -> int:
    """When a running agent last committed, ns."""
    return (folder / "spool.sqlite-wal").stat().st_mtime_ns


def test_what_the_host_says_reaches_the_collector(tmp_path: Path) -> None:
    with Collector() as collector, AgentProcess(tmp_path, collector.address, "interval_s = 0.2") as agent:
        wait_for(lambda: len(collector.reports()) >= 5, "five reports")
        hello = collector.hellos()[-1]
        assert (hello.node, hello.site, hello.wire, hello.interval_s) == ("node1", "default", 1, 0.2)
        assert [(device.device_class, device.reader) for device in hello.devices] == [("general", "host")]
        assert [(reader.name, reader.state) for reader in hello.readers] == [("host", "ok")]
        layout = next(message.layout for message in collector.heard if message.HasField("layout"))
        assert list(layout.blocks[0].devices) == [hello.devices[0].uuid]
        assert "memory_limit_bytes" in layout.blocks[0].gauges
        assert {message.reports.lane for message in collector.heard if message.HasField("reports")} == {pb.LANE_JUDGED}
        assert collector.events()[0].kind == "agent_started"
        assert agent.stop() == 0
    numbers = [report.seq for report in collector.reports()]
    assert numbers == sorted(set(numbers))
    assert all(report.previous < report.seq for report in collector.reports())


def test_it_is_ready_and_feeds_the_watchdog_without_a_collector(tmp_path: Path) -> None:
    with AgentProcess(tmp_path, NOBODY, environment={"WATCHDOG_USEC": "1000000"}) as agent:
        agent.wait_until_ready()
        wait_for(lambda: agent.supervisor.heard.count("WATCHDOG=1") >= 3, "the watchdog is fed")
        assert any(state.startswith("STATUS=waiting, 1 devices") for state in agent.supervisor.heard)
        assert agent.stop() == 0
        assert "STOPPING=1" in agent.supervisor.heard
        assert agent.log.count("uplink not connected") == 1, "the same trouble is told once"


def test_it_stops_cleanly_and_leaves_no_process(tmp_path: Path) -> None:
    with AgentProcess(tmp_path, NOBODY) as agent:
        agent.wait_until_ready()
        family = psutil.Process(agent.process.pid).children(recursive=True)
        assert family
        assert agent.stop() == 0
        _, alive = psutil.wait_procs(family, timeout=60.0)
        assert not alive


def test_what_was_not_sent_is_sent_by_the_next_run(tmp_path: Path) -> None:
    with AgentProcess(tmp_path, NOBODY, "interval_s = 0.1") as agent:
        agent.wait_until_ready()
        assert agent.stop() == 0
    waiting = spooled(agent.spool)
    assert waiting > 0
    agent.config.unlink()
    with Collector() as collector, AgentProcess(tmp_path, collector.address) as again:
        wait_for(
            lambda: len(collector.reports(pb.LANE_BACKLOG)) + sum(1 for _ in collector.events()) - 1 >= waiting,
            "reports and events of the first run, and the second one's start",
        )
        epochs = [message.reports.epoch for message in collector.heard if message.reports.lane == pb.LANE_BACKLOG]
        assert len(set(epochs)) == 1
        assert epochs[0] in {spool.epoch for spool in collector.hellos()[0].spooled}
        wait_for(lambda: len(collector.reports(pb.LANE_JUDGED)) >= 3, "live reports")
        assert again.stop() == 0
    assert spooled(again.spool) <= 3, "the last reports may not have been acknowledged yet"


def test_killed_while_its_collector_is_away_it_still_has_what_it_read(tmp_path: Path) -> None:
    with Collector(acknowledges=False) as collector, AgentProcess(tmp_path, collector.address) as agent:
        wait_for(lambda: len(collector.reports()) >= 2, "two reports")
        sent = max(report.seq for report in collector.reports())
        collector.stop()
        wait_for(lambda: "uplink lost" in agent.log, "it knows")
        for _ in range(2):  # one may have been under way
            before = commit_time(agent.spool)
            wait_for(lambda before=before: commit_time(agent.spool) > before, "a commit")  # type: ignore[misc]
        agent.process.kill()
        agent.process.wait(10.0)
    assert spooled(agent.spool) > sent


def test_trouble_that_comes_back_is_told_again(tmp_path: Path) -> None:
    with AgentProcess(tmp_path, NOBODY) as agent:
        agent.wait_until_ready()
        for times in (1, 2):
            family = psutil.Process(agent.process.pid).children(recursive=True)
            next(process for process in family if process.name() == "fallow-host").kill()
            wait_for(lambda times=times: agent.log.count("reader_recovered") == times, "its reader is back")  # type: ignore[misc]
            assert agent.log.count("reader host: its process was ended by SIGKILL") == times
        assert agent.stop() == 0


def test_after_a_cut_the_evidence_goes_on_where_it_was_judged(tmp_path: Path) -> None:
    with Collector() as first, AgentProcess(tmp_path, first.address, "interval_s = 0.1") as agent:
        wait_for(lambda: len(first.reports()) >= 3, "three reports")
        port = first.port
        first.stop()
        seen = [report.seq for report in first.reports()]
        epoch = first.hellos()[0].epoch
        with_gap = Collector(port=port)
        with_gap.judged = (epoch, seen[1])
        with with_gap:
            wait_for(lambda: len(with_gap.reports(pb.LANE_JUDGED)) >= 5, "evidence and live reports")
            judged = [report.seq for report in with_gap.reports(pb.LANE_JUDGED)]
            assert judged[0] == seen[2], "though it was acknowledged"
            assert judged == sorted(set(judged))
            previous = [report.previous for report in with_gap.reports(pb.LANE_JUDGED)]
            assert previous[1:] == judged[:-1]
            assert agent.stop() == 0


def test_with_tls_it_streams(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("node1")
    with Collector(tls=(authority.sign("collector"), authority)) as collector:
        agent = AgentProcess(tmp_path, collector.address)
        with agent.config.open("a") as config:
            config.write(f'[tls]\nca = "{authority.ca}"\ncert = "{pair.cert}"\nkey = "{pair.key}"\n')
        with agent:
            wait_for(lambda: len(collector.reports()) >= 1, "a report")
            assert agent.stop() == 0


def test_a_collector_that_does_not_read_does_not_stop_sampling(tmp_path: Path) -> None:
    reads = threading.Event()
    with Collector(reads=reads) as collector, AgentProcess(tmp_path, collector.address, "interval_s = 0.1") as agent:
        agent.wait_until_ready()
        fed = len(agent.supervisor.heard)
        assert agent.process.poll() is None
        reads.set()
        wait_for(lambda: len(collector.reports()) >= 3, "reports as soon as it reads")
        assert fed
        assert agent.stop() == 0


def test_a_second_agent_on_one_spool_says_whose_it_is_and_ends(tmp_path: Path) -> None:
    with AgentProcess(tmp_path, NOBODY) as first:
        first.wait_until_ready()
        done = subprocess.run(first.process.args, capture_output=True, text=True, timeout=60.0, check=False)
        assert done.returncode == 1
        assert f"is used by another agent (process {first.process.pid})" in done.stderr
        assert first.stop() == 0


def test_a_spool_folder_that_cannot_be_used_is_said_loudly_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    with Collector() as collector, AgentProcess(tmp_path, collector.address) as agent:
        wait_for(lambda: len(collector.reports()) >= 2, "reports")
        assert "spool_unusable" in {event.kind for event in collector.events()}
        wait_for(lambda: any("spool in memory" in state for state in agent.supervisor.heard), "a STATUS")
        assert "reports wait in memory" in agent.log
        assert agent.stop() == 0


def test_a_read_only_spool_folder_stops_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a read-only mount needs root")
    (tmp_path / "spool").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "none", tmp_path / "spool"], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a read-only file system cannot be mounted: {mounted.stderr.strip()}")
    try:
        with Collector() as collector, AgentProcess(tmp_path, collector.address) as agent:
            wait_for(lambda: len(collector.reports()) >= 2, "reports")
            assert "Read-only file system" in agent.log
            assert agent.stop() == 0
    finally:
        subprocess.run(["umount", "--lazy", tmp_path / "spool"], check=True)


def test_a_damaged_spool_is_set_aside_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "spool.sqlite").write_bytes(b"no database " * 500)
    with Collector() as collector, AgentProcess(tmp_path, collector.address) as agent:
        wait_for(lambda: len(collector.reports()) >= 2, "reports")
        assert "spool_dropped" in {event.kind for event in collector.events()}
        assert (agent.spool / "spool.sqlite.damaged-0").exists()
        assert agent.stop() == 0
    assert spooled(agent.spool) >= 0


def test_a_full_spool_drops_the_oldest_and_tells_the_collector_how_many(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path, NOBODY)
    agent.spool.mkdir()
    earlier = Database(agent.spool / "spool.sqlite", 64 << 20, 1 << 60)
    now_ms = int(time.time() * 1_000)
    items = [report(seq, "earlier", padding=4_000)._replace(time_ms=now_ms) for seq in range(1, 500)]
    earlier.commit(Commit(items), now_ms)
    earlier.close()
    with agent:
        agent.wait_until_ready()
        wait_for(lambda: "spool_dropped" in agent.log, "the oldest is dropped")
        assert "max_mib = 1" in agent.log
        assert agent.stop() == 0
    with sqlite3.connect(agent.spool / "spool.sqlite") as db:
        counted = dict(db.execute("SELECT name, value FROM counter"))
        left = db.execute("SELECT count(*) FROM report WHERE number < (2 << 40)").fetchone()[0]
    db.close()
    assert counted["dropped_reports"] == 499 - left > 200
