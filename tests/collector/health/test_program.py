"""The real collector: what an agent tells over the wire takes a device out, and is still known after a kill."""

import signal
import time
from pathlib import Path
from typing import Any

from tests.collector.ingest.builders import NODE, event, events, hello, layout, reports
from tests.collector.ingest.builders import report as report_of
from tests.collector.program import PATIENCE_S, Agent, Program, running

DEVICE = f"{NODE}-gpu-0"


def told(program: Program, agent: Agent | None = None) -> dict[str, Any]:
    """The device as soon as it has an incident; the agent goes on reporting meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    seq = 10
    while time.monotonic() < deadline:
        detail: dict[str, Any] = program.get(f"/api/v1/devices/{DEVICE}").json()
        failed = agent is None or detail["device"]["health"] == "failed"
        if detail["incidents"] and failed:
            return detail
        if agent is not None:
            seq += 1
            agent.say(reports(report_of(seq, time_ms=round(time.time() * 1000))))
        time.sleep(0.2)
    raise AssertionError(f"no incident: {detail}")


def test_an_xid_takes_a_device_out_and_its_incident_survives_a_kill(tmp_path: Path) -> None:
    now_ms = round(time.time() * 1000)
    xid = event(
        6, kind="xid", device=DEVICE, code=79, source="kernel", message="GPU has fallen off the bus.", first_ms=now_ms,
        last_ms=now_ms,
    )
    program = Program(tmp_path)
    with running(program):
        agent = Agent(program.grpc)
        agent.say(hello(boot_id="boot-a"), layout(), reports(report_of(5, time_ms=now_ms)), events(xid))
        agent.hear("welcome")
        detail = told(program, agent)
        one, = detail["incidents"]
        assert (one["rule"], one["severity"], one["action"]) == ("xid 79", "failed", "restart_node")
        assert detail["device"]["phase"] == "faulty"
        assert "incident_failed" in detail["device"]["reasons"]
        page = program.get(f"/api/v1/devices/{DEVICE}/timeline?start=-1h").json()
        assert {moment["kind"] for moment in page["items"]} == {"event", "incident", "phase"}
        assert (page["complete"], page["next"]) == (False, None)
        told_of = program.get("/metrics").text
        assert 'fallow_health_incidents{rule="xid 79",severity="failed",mode="enforce"} 1' in told_of
        assert 'fallow_health_conditions{rule="remap_failed",severity="failed",mode="enforce"} 0' in told_of
        assert "fallow_health_doubted_devices 0" in told_of
        program.stop(signal.SIGKILL)
        agent.close()
    with running(program):
        agent = Agent(program.grpc)
        agent.say(hello(boot_id="boot-a"))
        agent.hear("welcome")
        assert told(program)["incidents"][0]["incident_id"] == one["incident_id"]
        agent.close()
        assert program.stop() == 0


def test_over_the_wire_a_node_gets_nothing_of_another_one_by_naming_it_and_that_is_said(tmp_path: Path) -> None:
    with running(Program(tmp_path)) as program:
        owner, thief = Agent(program.grpc), Agent(program.grpc)
        owner.say(hello(), layout(), reports(report_of(1, time_ms=round(time.time() * 1000))))
        owner.hear("welcome")
        thief.say(hello("thief", devices=hello().hello.devices))
        thief.hear("welcome")
        told = until_told(program)
        assert [one["node"] for one in told] == [NODE, NODE]
        metrics = program.get("/metrics").text
        assert "fallow_fleet_contested_devices 2" in metrics
        assert 'fallow_health_incidents{rule="device_contested",severity="degraded",mode="enforce"} 1' in metrics
        seen = [group["seen"] for group in program.get("/api/v1/capacity").json()["groups"]]
        assert sum(seen) == 2
        assert f"event=device_contested node=thief device=- message='names devices that other nodes have and report, " \
            f"which keep them: {DEVICE} of {NODE}" in program.log.read_text()
        owner.close()
        thief.close()


def until_told(program: Program) -> list[dict[str, Any]]:
    """Devices, once the contest is in the log."""
    deadline = time.monotonic() + PATIENCE_S
    while "device_contested" not in program.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    devices: list[dict[str, Any]] = program.get("/api/v1/devices").json()["items"]
    return devices
