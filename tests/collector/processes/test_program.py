"""The real collector: who is on a device, whose it is by Slurm's ledger, and what is said of a stranger."""

import time
from pathlib import Path
from typing import Any

import httpx

from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.ingest.builders import NODE, hello, layout, listed, report, reports
from tests.collector.program import PATIENCE_S, Agent, Program, running

DEVICE = f"{NODE}-gpu-0"
OWN = pb.Process(
    pid=11, started_ms=1_700_000_000_000, command="python", user="alice", uid=1000, memory_bytes=5,
    cgroup="/system.slice/slurmstepd.scope/job_17/step_0/user/task_0",
)
STRANGER = pb.Process(
    pid=12, started_ms=1_700_000_000_000, command="miner", user="1666", uid=1666,
    cgroup="/user.slice/user-1666.slice/session-3.scope",
)
UNKNOWN = pb.Process(pid=13, problem="not in /proc")


def is_imported(program: Program) -> None:
    answer = httpx.put(f"http://{program.http}/api/v1/ledgers/slurm", json={
        "age_s": 0.0, "nodes": [{"node": NODE}],
        "jobs": [{"node": NODE, "holder": "job 17 of alice", "uuid": DEVICE, "job": "17", "uid": 1000}],
    })
    assert answer.status_code == 200, answer.text


def goes_on(program: Program, agent: Agent, reason: str) -> dict[str, Any]:
    """The device as soon as it has a reason; node and scheduler go on reporting meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    seq = 10
    while time.monotonic() < deadline:
        seq += 1
        agent.say(reports(report(seq, time_ms=round(time.time() * 1000))))
        is_imported(program)
        detail: dict[str, Any] = program.get(f"/api/v1/devices/{DEVICE}").json()
        if reason in detail["device"]["reasons"]:
            return detail
        time.sleep(0.2)
    raise AssertionError(f"{reason} is no reason: {detail}")


def test_a_stranger_on_a_leased_device_is_named_marked_and_explained(tmp_path: Path) -> None:
    with running(Program(tmp_path, "[idle]\nunmanaged_s = 1.0\n")) as program:
        agent = Agent(program.grpc)
        agent.say(hello(), layout(), listed(OWN, STRANGER, UNKNOWN, more=2))
        agent.hear("welcome")
        detail = goes_on(program, agent, "foreign_process")
        assert detail["device"]["phase"] == "leased"
        found = detail["processes"]
        assert (found["problem"], found["more"]) == (None, 2)
        own, stranger, unknown = found["items"]
        assert (own["job"], own["user"], own["memory_bytes"], own["foreign"]) == ("17", "alice", 5, False)
        assert (stranger["job"], stranger["unit"], stranger["foreign"]) == (None, "session-3.scope", True)
        assert (unknown["problem"], unknown["user"], unknown["uid"], unknown["foreign"]) == (
            "not in /proc", None, None, None
        )
        (event,) = [one for one in goes_on_until_event(program, agent) if one["kind"] == "foreign_process"]
        assert "pid 12 (miner) of 1666" in event["message"]
        assert "job 17 of alice" in event["message"]
        rules = {rule["name"]: rule for rule in program.get(f"/api/v1/devices/{DEVICE}/explain").json()["predicates"]}
        assert rules["processes of its holder"]["holds"] is False
        assert "miner" in rules["processes of its holder"]["value"]
        assert program.get(f"/api/v1/devices/{NODE}-gpu-1").json()["processes"] is None
        assert "miner" not in program.get("/metrics/devices").text
        agent.close()
        assert program.stop() == 0


def goes_on_until_event(program: Program, agent: Agent) -> list[dict[str, Any]]:
    """The device's events as soon as the state has the stranger."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found: list[dict[str, Any]] = goes_on(program, agent, "foreign_process")["events"]
        if any(one["kind"] == "foreign_process" for one in found):
            return found
    raise AssertionError(f"no event of a stranger: {found}")
