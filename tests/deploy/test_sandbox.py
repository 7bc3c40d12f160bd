"""The programs do their work inside what their units leave them, as far as that can be shown without systemd."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.programs import Agent, Collector, Program, until

pytestmark = [pytest.mark.server("systemd-analyze"), pytest.mark.server("strace")]

CONFINE = Path(__file__).with_name("confine.py")
UNITS = Path(__file__).parents[2] / "deploy" / "systemd"


def members(group: str) -> set[str]:
    """The system calls of one of systemd's groups."""
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split("\n")[1:]
    names = {line.strip() for line in shown if line.strip() and not line.strip().startswith("#")}
    groups = {name for name in names if name.startswith("@")}
    return (names - groups).union(*map(members, groups))


def filtered(program: str) -> tuple[set[str], set[str]]:
    """What SystemCallFilter= of a unit lets through, and what it then forbids."""
    unit = (UNITS / f"{program}.service").read_text(encoding="utf-8")
    allowed, forbidden = members("@default"), set[str]()
    for tilde, groups in re.findall(r"^SystemCallFilter=(~?)(.*)$", unit, re.MULTILINE):
        (forbidden if tilde else allowed).update(*map(members, groups.split()))
    return allowed, forbidden


def confine(program: Program, calls: Path) -> None:
    """Run it in the sandbox; what its unit forbids fails with EPERM, and the names of its calls are counted."""
    _, forbidden = filtered(program.name)
    refused = ",".join(f"?{name}" for name in sorted(forbidden))
    # -D keeps the program our child, so that it is the one who gets our signals.
    program.under = (
        "strace", "-D", "-f", "-qq", "-c", "-U", "name", "-o", str(calls), "-e", f"inject={refused}:error=EPERM",
        sys.executable, str(CONFINE),
    )


def test_both_programs_work_in_their_sandboxes_and_ask_for_nothing_outside(tmp_path: Path) -> None:
    collector = Collector(tmp_path, "idle.confirm_s = 3", "idle.confirm_readings = 3")
    agent = Agent(tmp_path, collector.grpc, "interval_s = 0.5")
    programs: list[Program] = [collector, agent]
    calls = {program.name: tmp_path / f"{program.name}.calls" for program in programs}
    for program in programs:
        confine(program, calls[program.name])
    with collector, agent:
        until(lambda: stored_rows(collector) >= 3, "the host's readings are stored")
        assert agent.stop() == 0
        assert collector.stop() == 0
    for program in programs:
        allowed, _ = filtered(program.name)
        assert counted(calls[program.name]) <= allowed


def counted(calls: Path) -> set[str]:
    """The names in the tracer's table, which it writes after its program has ended."""
    text = until(lambda: calls.exists() and calls.read_text(), "the tracer has written its table")
    return set(re.findall(r"^[a-z]\w*$", str(text), re.MULTILINE)) - {"syscall", "total"}


def stored_rows(collector: Collector) -> int:
    node = collector.node("n1")
    if node is None or not node.devices:
        return 0
    answer = collector.fallow_json("history", "cpu", "--columns", "cpu_cores", "--start", "10m", "--step", "0")
    return len(answer["rows"])
