"""Cordons of a real collector, over kills and stops."""

import signal
from pathlib import Path

import httpx

from tests.collector.ingest.builders import NODE
from tests.collector.program import PATIENCE_S, Program, running


def post(program: Program, **request: object) -> httpx.Response:
    return httpx.post(f"http://{program.http}/api/v1/cordons", json=request, timeout=PATIENCE_S)


def test_a_cordon_outlives_a_kill_and_what_remains_of_it_a_stop(tmp_path: Path) -> None:
    devices = tmp_path / "devices.csv"
    devices.write_text(f"uuid,node,vendor,model\n{NODE}-gpu-0,{NODE},nvidia,H100\n{NODE}-gpu-1,{NODE},nvidia,H100\n")
    program = Program(tmp_path, f'[inventory]\nfile = "{devices}"\n')
    with running(program):
        assert post(program, nodes=[NODE], owner="ops", reason="fan", for_s=3600).status_code == 200
        program.stop(signal.SIGKILL)
    with running(program):
        (found,) = program.get("/api/v1/cordons").json()["items"]
        assert (found["owner"], found["reason"], found["node"]) == ("ops", "fan", NODE)
        assert program.stop() == 0
    with running(program):
        (again,) = program.get("/api/v1/cordons").json()["items"]
        assert again["expires_in_s"] < found["expires_in_s"] <= 3600
        device = program.get(f"/api/v1/devices/{NODE}-gpu-1").json()["device"]
        assert (device["service"], device["reasons"]) == ("cordoned", ["absent", "cordoned"])
        explained = program.get(f"/api/v1/devices/{NODE}-gpu-1/explain").json()["predicates"]
        service = next(rule for rule in explained if rule["name"] == "service")
        assert not service["holds"]
        assert service["value"].startswith("cordoned by ops for 3")
        lifted = httpx.delete(
            f"http://{program.http}/api/v1/cordons/{again['cordon_id']}", params={"owner": "ops"}, timeout=PATIENCE_S
        )
        assert lifted.status_code == 204
        device = program.get(f"/api/v1/devices/{NODE}-gpu-1").json()["device"]
        assert device["service"] == "in_service"
