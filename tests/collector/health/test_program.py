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
