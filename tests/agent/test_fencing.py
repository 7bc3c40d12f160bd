"""Fences through the agent as a process: over real gRPC, through its death, and without a collector."""

import json
from pathlib import Path
from typing import Any

from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.collector import Collector, wait_for
from tests.agent.process import AgentProcess

NOBODY = "127.0.0.1:1"


def fence(token: int, device: str = "gpu-a", *, held: bool = True) -> pb.DeviceFence:
    return pb.DeviceFence(device=device, token=token, held=held, lease_id=f"l{token}", holder="alice")


def welcomed(collector: Collector) -> None:
    wait_for(lambda: len(collector.reports()) >= 1, "a report, after the welcome")


def shown(agent: AgentProcess) -> dict[str, Any]:
    return json.loads((agent.run_dir / "fences.json").read_text())  # type: ignore[no-any-return]


def test_a_fence_is_confirmed_and_a_lower_token_is_answered_with_the_higher_one(tmp_path: Path) -> None:
    with Collector() as collector, AgentProcess(tmp_path, collector.address, 'rack = "r4"') as agent:
        welcomed(collector)
        assert (list(collector.hellos()[0].fences), collector.hellos()[0].rack) == ([], "r4")
        collector.fence(fence(7), fence(3, "gpu-b"))
        collector.fence(fence(6), fence(3, "gpu-b", held=False))
        wait_for(lambda: len(collector.fenced()) == 2, "two answers")
        assert collector.fenced() == [[fence(7), fence(3, "gpu-b")], [fence(7), fence(3, "gpu-b", held=False)]]
        assert shown(agent)["devices"]["gpu-a"]["token"] == 7, "scripts know before the collector does"
        assert agent.stop() == 0


def test_a_token_that_was_confirmed_is_known_after_the_agent_was_killed(tmp_path: Path) -> None:
    with Collector() as collector, AgentProcess(tmp_path, collector.address) as agent:
        welcomed(collector)
        collector.fence(fence(7))
        wait_for(lambda: len(collector.fenced()) == 1, "an answer")
        agent.process.kill()
        agent.process.wait(10.0)
    (agent.run_dir / "fences.json").unlink()  # as a reboot does
    agent.config.unlink()
    with Collector() as collector, AgentProcess(tmp_path, collector.address) as again:
        welcomed(collector)
        assert list(collector.hellos()[0].fences) == [fence(7)]
        collector.fence(fence(6))
        wait_for(lambda: len(collector.fenced()) == 1, "an answer")
        assert collector.fenced() == [[fence(7)]]
        assert again.stop() == 0


def test_scripts_are_shown_fences_and_devices_without_a_collector(tmp_path: Path) -> None:
    with AgentProcess(tmp_path, NOBODY) as agent:
        wait_for(lambda: (agent.run_dir / "fences.json").exists() and shown(agent)["devices"] != {}, "the host")
        said = shown(agent)
        assert (said["version"], said["node"]) == (1, "node1")
        assert [row["token"] for row in said["devices"].values()] == [None]
        assert (agent.run_dir / "fences.json").stat().st_mode & 0o777 == 0o644
        assert agent.stop() == 0


def test_a_fence_that_the_disk_does_not_take_is_not_confirmed_and_telemetry_goes_on(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    with Collector() as collector, AgentProcess(tmp_path, collector.address) as agent:
        welcomed(collector)
        collector.fence(fence(7))
        wait_for(lambda: len(collector.fenced()) == 1, "an answer")
        assert collector.fenced() == [[]]
        assert "fences cannot be kept, and the collector is not told that they are" in agent.log
        many = len(collector.reports())
        wait_for(lambda: len(collector.reports()) > many, "more reports")
        assert agent.stop() == 0
