"""What lets a job start and what does not: as a table, and the real command as a launcher runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fallow_agent import prolog
from fallow_agent.prolog import STALE_S, Shown, Wanted, judge, token_of
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.collector import Collector, wait_for
from tests.agent.process import AgentProcess
from tests.agent.test_footprint import imported_by


def row(minor: int, token: int | None = None, *, held: bool = False) -> dict[str, Any]:
    return {
        "token": token, "held": held, "lease_id": f"l{token}" if held else None, "holder": "alice" if held else None,
        "index": minor, "minor": minor, "pci_bus_id": f"0000:{0x17 + minor:02x}:00.0",
    }


HELD, ENDED, FREE = "GPU-held", "GPU-ended", "GPU-free"
DEVICES = {HELD: row(0, 7, held=True), ENDED: row(1, 9), FREE: row(2)}
FRESH = Shown(DEVICES, 1.0)
OLD = Shown(DEVICES, STALE_S + 1)


@pytest.mark.parametrize(("shown", "device", "token", "refused"), [
    (FRESH, HELD, 7, False),
    (FRESH, HELD, 8, False),  # ours is newer than what the node has heard of
    (FRESH, HELD, 6, True),
    (FRESH, HELD, None, True),
    (FRESH, ENDED, 1, False),  # nobody holds it
    (FRESH, ENDED, None, False),
    (FRESH, FREE, 1, False),
    (FRESH, FREE, None, False),
    (FRESH, "GPU-unknown", None, False),
    (OLD, HELD, 6, True),  # tokens only rise
    (OLD, HELD, 7, False),
    (OLD, HELD, None, False),  # nobody says that it is held still
    (Shown(DEVICES, -3600.0), HELD, None, False),  # the clock was set back since
    (Shown({}, 1.0), HELD, None, False),
])
def test_a_job_is_refused_only_on_proof(shown: Shown, device: str, token: int | None, refused: bool) -> None:
    assert bool(judge(shown, [Wanted("uuid", device)], token).refusals) is refused


def test_a_refusal_says_which_device_both_tokens_who_and_what_to_do() -> None:
    (said,) = judge(FRESH, [Wanted("minor", 1), Wanted("minor", 0)], 5).refusals
    assert said == (
        "device GPU-held (minor 0) is held by alice with token 7 (lease l7), and this job comes with token 5; reserve "
        "the device again and start with the new lease's token, or look at it with `fallow device GPU-held`"
    )


def test_two_devices_of_one_minor_number_are_no_proof() -> None:
    twice = Shown({"GPU-1": row(0, 7, held=True), "MLU-1": row(0)}, 1.0)
    verdict = judge(twice, [Wanted("minor", 0)], None)
    assert (verdict.refusals, verdict.notes) == ([], ["device with minor 0 may be any of GPU-1, MLU-1"])


@pytest.mark.parametrize(("option", "comment", "token"), [
    (None, "", None), (None, "fallow-token=12", 12), (None, "owner=x fallow-token=12,retry", 12),
    (None, "notfallow-token=x", None), (None, "fallow-token=", None), ("12", "fallow-token=13", 12),
    ("", "fallow-token=13", None), ("x", "", None), ("²", "", None),
])
def test_the_token_is_the_options_else_the_comments(option: str | None, comment: str, token: int | None) -> None:
    assert token_of(option, comment) == token


class Node:
    """A run folder with a file of fences, and the command."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.file = run_dir / "fences.json"
        self.write({"version": 1, "node": "n", "written": "", "devices": DEVICES})
        self.gres_conf = run_dir / "gres.conf"
        self.slurm = {"SLURM_CONF": str(run_dir / "slurm.conf"), "SLURMD_NODENAME": "n0"}

    def write(self, content: object) -> None:
        self.file.write_text(content if isinstance(content, str) else json.dumps(content))

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Exit status and what was said, in the environment of a Prolog: nearly none."""
        done = subprocess.run(
            [sys.executable, "-m", "fallow_agent.cli", "prolog", *arguments], check=False, timeout=60.0,
            capture_output=True, text=True,
            env={"FALLOW_AGENT_READERS__RUN_DIR": str(self.run_dir), **(environment or {})},
        )
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize(("arguments", "status"), [
    (("--token", "7", "--device", HELD), 0),
    (("--token", "6", "--device", HELD), 1),
    (("--token", "6", "--minor", "0"), 1),
    (("--token", "6", "--pci", "00000000:17:00.0"), 1),
    (("--token", "6", "--pci", "17:00.0"), 1),
    (("--pci", "0000:19:00.0", "--minor", "1"), 0),
    (("--pci", "0000:19:00.0", "--minor", "0"), 1),
    (("--token", "", "--minor", "0"), 1),
    (("--minor", "31"), 0),
    (("--minor", "first"), 0),
    (("--pci", "nonsense"), 0),
    (("--no-such-option",), 0),
    (("--run-dir", "/nonexistent", "--minor", "0"), 0),
    ((), 0),
])
def test_the_command_exits_with_1_on_proof_and_with_0_whatever_else(
    node: Node, arguments: tuple[str, ...], status: int
) -> None:
    returned, said = node.run(*arguments)
    assert returned == status
    assert ("is held by alice with token 7" in said) is bool(status)


@pytest.mark.parametrize("content", [
    "", '{"version": 1, "devi', "[]", '{"version": 2, "devices": {}}', '{"version": 1}', "\udcff",
    '{"version": 1, "devices": {"GPU-held": {}}}', '{"version": 1, "devices": []}',
    {"version": 1, "devices": {HELD: row(0, None, held=True)}},
    {"version": 1, "devices": {HELD: {**row(0, 7, held=True), "token": "7"}}},
])
def test_a_file_that_is_torn_or_of_another_version_lets_the_job_start_with_a_note(node: Node, content: object) -> None:
    if content == "\udcff":
        node.file.write_bytes(b"\xff\xfe")
    else:
        node.write(content)
    returned, said = node.run("--minor", "0")
    assert returned == 0
    assert "nothing was checked, the job may start: " in said


@pytest.mark.parametrize(("environment", "status"), [
    ({"SLURM_JOB_GPUS": "0"}, 1),
    ({"SLURM_JOB_GPUS": "1,2"}, 0),
    ({"SLURM_JOB_GPUS": "0-2"}, 1),
    ({"SLURM_STEP_GPUS": "0"}, 1),
    ({"SLURM_JOB_GPUS": "1", "SLURM_STEP_GPUS": "0"}, 0),
    ({"SLURM_JOB_GPUS": "0-2", "SLURM_JOB_COMMENT": "fallow-token=7"}, 0),
    ({"SLURM_JOB_GPUS": "0-2", "SLURM_JOB_COMMENT": "fallow-token=6"}, 1),
    ({"SLURM_JOB_GPUS": "0-2", "SLURM_JOB_COMMENT": "nightly"}, 1),
    ({"SLURM_JOB_GPUS": "what?"}, 0),
    ({"SLURM_JOB_ID": "17"}, 0),
])
def test_a_prolog_of_slurm_needs_no_arguments(node: Node, environment: dict[str, str], status: int) -> None:
    node.gres_conf.write_text("Name=gpu Type=h100 File=/dev/nvidia[0-2]")
    assert node.run(environment={**node.slurm, **environment})[0] == status


def test_slurms_numbers_are_translated_by_gres_conf(node: Node) -> None:
    node.gres_conf.write_text(
        "NodeName=n0 Name=gpu File=/dev/nvidia[1-2]\nNodeName=n0 Name=gpu File=/dev/nvidia0\n"
        "NodeName=n1 Name=gpu Type=other File=/dev/nvidia[0-7]"
    )
    assert node.run(environment={**node.slurm, "SLURM_JOB_GPUS": "0,1"})[0] == 0
    assert node.run(environment={**node.slurm, "SLURM_JOB_GPUS": "2"})[0] == 1
    assert node.run(environment={**node.slurm, "SLURM_JOB_GPUS": "3"}) == (
        0, "fallow-agent prolog: nothing was checked, the job may start: Slurm's device 3 is not among the 3 of "
        "gres.conf\n",
    )


@pytest.mark.parametrize(("gres_conf", "why"), [
    ("AutoDetect=nvml", "does not say which device files"),
    ("Name=gpu Type=a File=/dev/nvidia[1-2]\nName=gpu Type=b File=/dev/nvidia0", "in the order of the node's Gres="),
    ("Name=gpu what", "'what' cannot be read"),
    (None, "gres.conf cannot be read: No such file or directory"),
])
def test_where_slurms_numbers_leave_a_doubt_nothing_is_proof(node: Node, gres_conf: str | None, why: str) -> None:
    if gres_conf is not None:
        node.gres_conf.write_text(gres_conf)
    for number in range(3):
        returned, said = node.run(environment={**node.slurm, "SLURM_JOB_GPUS": str(number)})
        assert returned == 0
        assert why in said


def test_an_old_file_is_no_proof_against_a_job_without_a_token(node: Node) -> None:
    long_ago = node.file.stat().st_mtime - 2 * STALE_S
    os.utime(node.file, (long_ago, long_ago))
    returned, said = node.run("--minor", "0")
    assert returned == 0
    assert "the agent has not written for" in said
    assert node.run("--minor", "0", "--token", "6")[0] == 1


def test_what_a_real_agent_was_told_refuses_a_lower_token_also_when_the_agent_is_gone(tmp_path: Path) -> None:
    with Collector() as collector, AgentProcess(tmp_path, collector.address) as agent:
        wait_for(lambda: len(collector.reports()) >= 1, "a report")
        host = collector.hellos()[-1].devices[0].uuid
        collector.fence(pb.DeviceFence(device=host, token=7, held=True, lease_id="l7", holder="alice"))
        wait_for(lambda: len(collector.fenced()) == 1, "an answer")

        def run(*arguments: str) -> int:
            return subprocess.run(
                [sys.executable, "-m", "fallow_agent.cli", "prolog", "--run-dir", agent.run_dir, "--device", host,
                 *arguments], check=False, timeout=60.0, stderr=subprocess.DEVNULL,
            ).returncode

        assert [run("--token", "7"), run("--token", "6"), run()] == [0, 1, 1]
        agent.process.kill()
        agent.process.wait(10.0)
        assert [run("--token", "7"), run("--token", "6")] == [0, 1]
        (agent.run_dir / "fences.json").unlink()
        assert [run("--token", "6"), run()] == [0, 0]


def test_it_imports_nothing_that_a_job_would_wait_for() -> None:
    modules = imported_by("from fallow_agent import cli; cli.main(['prolog'])")
    assert not modules & {"grpc", "google", "msgspec", "asyncio", "logging", "psutil", "subprocess"}


def test_what_it_reads_is_what_the_agent_writes() -> None:
    from fallow_agent import config, fences_shown

    assert (prolog.RUN_DIR, prolog.FILE, prolog.VERSION) == (config.RUN_DIR, fences_shown.FILE, fences_shown.VERSION)
    assert prolog.STALE_S > 2 * 60.0
