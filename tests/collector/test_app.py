"""The collector as a process: from a report on the wire to an answer over HTTP, over kills and stops."""

import contextlib
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest

from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.ingest.builders import EPOCH, NODE, event, events, hello, layout, numbers, report, reports
from tests.collector.ingest.certificates import Authority
from tests.collector.program import PATIENCE_S, Agent, Program, running


def wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def seen(program: Program) -> list[tuple[str]]:
    """Devices in the state file of a running collector."""
    with contextlib.closing(sqlite3.connect(program.folder / "state" / "state.sqlite")) as connection:
        return connection.execute("SELECT uuid FROM seen").fetchall()


def recent(seq: int) -> pb.Report:
    return report(seq, time_ms=int(time.time() * 1000) + seq)


def send(program: Program, first: int, last: int) -> Agent:
    """An agent that has had these reports acknowledged."""
    agent = Agent(program.grpc)
    agent.say(hello(), layout(), *(reports(recent(seq)) for seq in range(first, last + 1)))
    acknowledged: set[int] = set()
    while not acknowledged.issuperset(range(first, last + 1)):
        for lo, hi in numbers(agent.hear("ack").ack.stored)[EPOCH]:
            acknowledged.update(range(lo, hi + 1))
    return agent


def test_a_report_is_shown_acknowledged_and_in_the_history(tmp_path: Path) -> None:
    with running(Program(tmp_path)) as program:
        *before, ready = program.notified
        assert ready == "READY=1"
        assert all(state.startswith("STATUS=") for state in before), "a start of more than a second says how it goes"
        with contextlib.closing(send(program, 1, 3)):
            assert program.get("/readyz").status_code == 200
            (group,) = program.get("/api/v1/capacity").json()["groups"]
            assert (group["seen"], group["model"]) == (2, "NVIDIA A100-SXM4-80GB")
            device = program.get(f"/api/v1/devices/{NODE}-gpu-0").json()["device"]
            assert device["power_watts"] == 60.0
            history = program.get(f"/api/v1/history?uuid={NODE}-gpu-0&columns=power_watts&start=-1h").json()
            assert [row[1] for row in history["rows"]] == [60.0, 60.0, 60.0]
            metrics = program.get("/metrics").text
            assert "fallow_ingest_streams 1" in metrics
            assert "fallow_writer_up 1" in metrics
        assert program.stop() == 0


def test_after_a_kill_the_agent_is_told_exactly_what_was_acknowledged(tmp_path: Path) -> None:
    program = Program(tmp_path)
    with running(program):
        agent = send(program, 1, 5)
        agent.say(events(event(6, device=f"{NODE}-gpu-0")))
        assert numbers(agent.hear("ack").ack.stored) == {EPOCH: [(6, 6)]}
        wait_until(lambda: len(seen(program)) == 2, "the devices are not kept")
        program.stop(signal.SIGKILL)
        agent.close()
    with running(program):
        assert program.get(f"/api/v1/devices/{NODE}-gpu-0").json()["device"]["freshness"] == "lost"
        with contextlib.closing(Agent(program.grpc)) as agent:
            agent.say(hello())
            assert numbers(agent.hear("welcome").welcome.stored) == {EPOCH: [(1, 6)]}
        detail = program.get(f"/api/v1/devices/{NODE}-gpu-0").json()
        assert [each["kind"] for each in detail["events"]] == ["agent_started"]
        assert program.stop() == 0


def test_a_stop_stores_and_acknowledges_what_has_come(tmp_path: Path) -> None:
    program = Program(tmp_path)
    with running(program):
        agent = Agent(program.grpc)
        agent.say(hello(), layout(), reports(recent(1)))
        agent.hear("welcome")
        wait_until(lambda: "fallow_fleet_judged_total 1" in program.get("/metrics").text, "it is not judged")
        program.process.send_signal(signal.SIGTERM)
        assert numbers(agent.hear("ack").ack.stored) == {EPOCH: [(1, 1)]}
        assert agent.ending() == (grpc.StatusCode.UNAVAILABLE, "the collector is stopping")
        assert program.stop() == 0
        agent.close()
    assert "collector stopped" in program.log.read_text()


def test_systemd_s_watchdog_is_fed_while_micro_batches_are_judged(tmp_path: Path) -> None:
    program = Program(tmp_path)
    try:
        program.start(messages=4, WATCHDOG_USEC="200000")
        assert {"READY=1", "WATCHDOG=1"} <= set(program.notified)
    finally:
        program.stop(signal.SIGKILL)


def test_with_certificates_both_listeners_speak_tls_and_agents_must_be_who_they_say(tmp_path: Path) -> None:
    authority = Authority()
    collector, agent_1 = authority.issue("collector", names=("collector", "localhost")), authority.issue(NODE)
    for name, pem in (("ca", authority.pem), ("cert", collector.certificate), ("key", collector.key)):
        (tmp_path / name).write_bytes(pem)
    tls = f'[tls]\ncert = "{tmp_path / "cert"}"\nkey = "{tmp_path / "key"}"\nclient_ca = "{tmp_path / "ca"}"\n'
    credentials = grpc.ssl_channel_credentials(authority.pem, agent_1.key, agent_1.certificate)
    with running(Program(tmp_path, tls)) as program:
        with contextlib.closing(Agent(program.grpc, credentials)) as agent:
            agent.say(hello(), layout(), reports(recent(1)))
            assert numbers(agent.hear("ack").ack.stored) == {EPOCH: [(1, 1)]}
        with contextlib.closing(Agent(program.grpc, credentials)) as impostor:
            impostor.say(hello("node-2"))
            code, details = impostor.ending()
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert "expected one that names the node node-2" in details
        trusted = ssl.create_default_context(cadata=authority.pem.decode())
        port = program.http.rpartition(":")[2]
        assert httpx.get(f"https://localhost:{port}/readyz", verify=trusted, timeout=PATIENCE_S).status_code == 200


def test_a_second_collector_on_the_same_state_is_refused_with_the_reason(tmp_path: Path) -> None:
    with running(Program(tmp_path)) as program:
        second = Program(tmp_path / "second")
        second.configure(state=tmp_path / "state")
        done = run("--config", str(second.config))
        assert done.returncode == 1
        assert "another collector uses this state folder; stop it first" in done.stderr
        assert program.get("/healthz").status_code == 200


def test_a_taken_port_is_told_and_nothing_is_left_running(tmp_path: Path) -> None:
    with running(Program(tmp_path)) as program:
        second = Program(tmp_path / "second")
        second.configure(grpc=program.grpc)
        done = run("--config", str(second.config))
        assert done.returncode == 1
        assert f"[grpc] listen = '{program.grpc}' cannot be bound" in done.stderr


def test_the_declared_inventory_is_absent_until_its_nodes_speak(tmp_path: Path) -> None:
    (tmp_path / "devices.csv").write_text(f"uuid,node,vendor,model\n{NODE}-gpu-0,{NODE},,\nother,node-9,nvidia,H100\n")
    extra = f'[inventory]\nfile = "{tmp_path / "devices.csv"}"\n'
    with running(Program(tmp_path, extra)) as program:
        groups = program.get("/api/v1/capacity").json()["groups"]
        assert sum(group["declared"] for group in groups) == sum(group["absent"] for group in groups) == 2
        with contextlib.closing(send(program, 1, 1)):
            groups = program.get("/api/v1/capacity").json()["groups"]
            assert sum(group["declared"] for group in groups) == 2
            assert sum(group["undeclared"] for group in groups) == 1
            assert sum(group["absent"] for group in groups) == 1


def test_a_store_that_cannot_be_opened_leaves_the_live_view(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "store").write_text("a file where the store's folder should be")
    program = Program(tmp_path)
    with running(program):
        with contextlib.closing(Agent(program.grpc)) as agent:
            agent.say(hello(), layout(), reports(recent(1)))
            agent.hear("welcome")
            wait_until(lambda: "fallow_fleet_judged_total 1" in program.get("/metrics").text, "it is not judged")
            assert program.get(f"/api/v1/devices/{NODE}-gpu-0").json()["device"]["power_watts"] == 60.0
            assert program.get("/readyz").status_code == 503
            assert "fallow_writer_up 0" in program.get("/metrics").text
            (tmp_path / "state" / "store").unlink()
            assert numbers(agent.hear("resend").resend.lost) == {EPOCH: [(1, 1)]}
            agent.say(reports(recent(1), lane=pb.LANE_BACKLOG))
            assert numbers(agent.hear("ack").ack.stored) == {EPOCH: [(1, 1)]}
        assert program.get("/readyz").status_code == 200
        assert program.stop() == 0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fallow_collector.cli", *arguments],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )


def test_check_explains_every_key_and_tries_what_can_be_tried(tmp_path: Path) -> None:
    program = Program(tmp_path)
    done = run("--config", str(program.config), "--check")
    assert done.returncode == 0, done.stdout
    assert f'grpc.listen = "{program.grpc}"' in done.stdout
    assert "idle.confirm_s = 60.0" in done.stdout
    good = [line for line in done.stdout.splitlines() if line.startswith("ok ")]
    tried = [line.removeprefix("ok").partition(":")[0].strip() for line in good]
    assert tried == [
        "state", "store", "tls", "tokens", "inventory", "rules", "alert rules", "receivers", "grpc", "http",
    ]
    assert not (tmp_path / "state").exists(), "a check leaves nothing behind"


@pytest.mark.parametrize(("extra", "told"), [
    ('[tls]\ncert = "none.crt"\nkey = "none.key"\n', "FAIL tls: [tls] cert = 'none.crt'"),
    ('[auth]\ntokens_file = "none.toml"\n', "FAIL tokens: [auth] tokens_file"),
    ('[health]\nrules = "none.toml"\n', "FAIL rules: [health] rules: {folder}/none.toml: cannot be read"),
    ('[alerts]\nrules = ["none.toml"]\n', "FAIL alert rules: [alerts] rules: {folder}/none.toml: cannot be read"),
    ('[[alerts.receivers]]\nname = "ops"\ntype = "slack"\nurl = "http://h/"\nsecret_file = "/none"\n',
     "FAIL receivers: [alerts] receiver 'ops': secret_file: /none cannot be read"),
    ('[inventory]\nfile = "none.toml"\n', "FAIL inventory: [inventory] file none.toml: cannot be read"),
    ('[store]\nkind = "influx"\n[store.influx]\nurl = "http://127.0.0.1:9"\n', "FAIL store: [store.influx] url"),
])
def test_check_says_what_will_not_work(tmp_path: Path, extra: str, told: str) -> None:
    done = run("--config", str(Program(tmp_path, extra).config), "--check")
    assert done.returncode == 1
    assert told.format(folder=tmp_path) in done.stdout


def test_a_mistake_in_the_configuration_is_told_on_one_line(tmp_path: Path) -> None:
    config = tmp_path / "collector.toml"
    config.write_text("[grpc]\nlissten = '127.0.0.1:1'\n")
    done = run("--config", str(config))
    assert done.returncode == 2
    assert done.stderr == (
        f"fallow-collector: {config}: unknown key grpc.lissten; expected one of listen; did you mean grpc.listen?\n"
    )


def test_the_version_names_the_wire() -> None:
    assert run("--version").stdout.endswith("(wire 1)\n")
