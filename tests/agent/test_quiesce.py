"""A quiesce on the node itself: real agents, a simulated driver, and what the kernel says of their processes."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from fallow_agent import quiesce
from fallow_agent.errors import QuiesceError
from fallow_agent.quiesce import Order
from fallow_agent.sampling import boot_clock
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.collector import Collector, wait_for
from tests.agent.process import AgentProcess, configuration
from tests.simulators.nvml.fixtures import nvml, nvml_library
from tests.simulators.nvml.scenario import Device, Hang, Scenario, h100
from tests.simulators.nvml.simulator import LIBRARY, Simulator

__all__ = ["nvml", "nvml_library"]

DRIVER_NOT_LOADED = 9
BOARDS = (h100(0), h100(1))


class Node(NamedTuple):
    agent: AgentProcess
    collector: Collector
    nvml: Simulator

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fallow_agent.cli", *words, "--config", self.agent.config],
            capture_output=True, text=True, check=False, timeout=120.0,
        )

    def quiesce(self, for_s: str = "10m", *more: str) -> str:
        done = self.command("quiesce", "--for", for_s, *more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def readers(self) -> dict[str, str]:
        hellos = self.collector.hellos()
        return {reader.name: reader.state for reader in hellos[-1].readers} if hellos else {}

    def reason(self) -> pb.Reason.ValueType | None:
        """Why the newest report says nothing of the first board; REASON_OK: it does."""
        for message in reversed(list(self.collector.heard)):
            for report in message.reports.reports:
                layouts = {one.layout.hash: one.layout for one in list(self.collector.heard) if one.HasField("layout")}
                blocks = layouts[message.reports.layout].blocks
                for readings in report.readings:
                    if (blocks[readings.block].reader, blocks[readings.block].group) == ("nvidia", "fast"):
                        return pb.Reason.ValueType(readings.reasons[0] if readings.reasons else pb.REASON_OK)
        return None

    def events(self) -> list[str]:
        return [event.kind for event in self.collector.events()]

    def touching(self) -> list[str]:
        """What the agent's processes have of the vendor's library and driver, mapped or open."""
        agent = psutil.Process(self.agent.process.pid)
        return [found for process in [agent, *agent.children(recursive=True)] for found in _held(process.pid)]


def _held(pid: int) -> Iterator[str]:
    folder = Path(f"/proc/{pid}")
    try:
        paths = [line.split(maxsplit=5)[-1] for line in (folder / "maps").read_text().splitlines()]
        paths += [str(each.readlink()) for each in (folder / "fd").iterdir()]
    except OSError:
        return  # it has ended
    yield from (path for path in paths if LIBRARY in path or "scenario" in path)


@pytest.fixture
def node(tmp_path: Path, nvml: Simulator) -> Iterator[Node]:
    """Two boards, read by an agent that streams."""
    nvml.play(Scenario(BOARDS))
    with Collector() as collector:
        agent = AgentProcess(tmp_path, collector.address, "interval_s = 0.5", environment=nvml.environment)
        readers = '["nvidia", "host"]\ndeadline_s = 1.0'
        agent.config.write_text(agent.config.read_text().replace('["host"]', readers))
        with agent:
            found = Node(agent, collector, nvml)
            wait_for(lambda: found.reason() == pb.REASON_OK, "that the boards are read")
            yield found


@pytest.mark.server("cc")
def test_no_process_of_a_quiesced_agent_touches_the_driver_and_the_host_goes_on(node: Node) -> None:
    assert node.touching()
    assert "nvidia quiesced" in node.quiesce()
    assert node.touching() == []
    calls = node.nvml.calls()
    wait_for(lambda: node.readers() == {"nvidia": "quiesced", "host": "ok"}, "that the collector hears of it")
    wait_for(lambda: node.reason() == pb.REASON_QUIESCED, "that each report says so of the boards")
    wait_for(lambda: "reader_quiesced" in node.events(), "the event")
    hello = node.collector.hellos()[-1]
    assert {device.uuid for device in hello.devices} >= {board.uuid for board in BOARDS}
    (message,) = (reader.message for reader in hello.readers if reader.name == "nvidia")
    assert message.startswith("until 20")
    assert message.endswith("on the node asked")
    reports = len(node.collector.reports())
    wait_for(lambda: len(node.collector.reports()) >= reports + 3, "that reports go on")
    assert node.nvml.calls() == calls


@pytest.mark.server("cc")
def test_who_asked_first_hears_that_another_order_stands(tmp_path: Path) -> None:
    lock = tmp_path / "spool/lock"
    config = tmp_path / "agent.toml"
    config.write_text(configuration(tmp_path, "127.0.0.1:1"))
    for folder in ("spool", "run"):
        (tmp_path / folder).mkdir()
    lock.write_text(f"{os.getpid()}\n")
    with lock.open() as held:  # as an agent has it, which is slow to answer
        fcntl.flock(held, fcntl.LOCK_EX)
        words = ["quiesce", "--for", "10m", "--config", config]
        with subprocess.Popen([sys.executable, "-m", "fallow_agent.cli", *words], stderr=subprocess.PIPE) as first:
            order = tmp_path / "run" / quiesce.ORDER
            wait_for(order.exists, "the first order")
            quiesce.write(order, Order(quiesce.boot_id(), boot_clock() + 60.0, "another"))
            assert first.stderr is not None
            said = first.stderr.read()
    assert b"another order took the place of this one, and that one stands: another asked" in said
    assert first.returncode == 1


def test_nor_does_somebody_who_only_wants_to_look(node: Node) -> None:
    node.quiesce()
    calls = node.nvml.calls()
    looked = node.command("--once")
    assert looked.returncode == 0, looked.stderr
    assert "quiesced" in looked.stdout
    assert "has let go of its devices for" in node.command("--doctor").stdout
    assert node.nvml.calls() == calls


@pytest.mark.server("cc")
def test_a_driver_is_exchanged_meanwhile_and_resume_brings_the_readers_back_to_it(node: Node) -> None:
    node.quiesce()
    node.nvml.play(replace(node.nvml.scenario, faults={"*": DRIVER_NOT_LOADED}))
    node.nvml.play(replace(node.nvml.scenario, faults={}, driver_version="590.10"))
    done = node.command("resume")
    assert (done.returncode, done.stdout) == (0, "fallow-agent: the readers come back\n")
    wait_for(lambda: node.reason() == pb.REASON_OK, "that the boards are read again")
    assert node.touching()
    wait_for(lambda: "driver_loaded" in node.events(), "the new driver")
    assert "driver_unloaded" not in node.events()
    wait_for(lambda: "reader_recovered" in node.events(), "that it came back")
    assert not list(node.agent.run_dir.glob("quiesce*"))


@pytest.mark.server("cc")
def test_it_ends_by_itself(node: Node) -> None:
    node.quiesce("5s")
    assert node.touching() == []
    wait_for(lambda: node.reason() == pb.REASON_OK and bool(node.touching()), "that it comes back unasked")
    assert not list(node.agent.run_dir.glob("quiesce*"))


@pytest.mark.server("cc")
def test_an_agent_that_is_killed_and_started_meanwhile_stays_off_the_driver_and_still_names_the_boards(
    node: Node, tmp_path: Path
) -> None:
    node.quiesce()
    calls = node.nvml.calls()
    node.agent.process.kill()
    node.agent.process.wait()
    with Collector() as collector:
        folder = tmp_path / "again"
        folder.mkdir()
        again = AgentProcess(folder, collector.address, environment=node.nvml.environment)
        again.config.write_text(node.agent.config.read_text().replace(node.collector.address, collector.address))
        with again:
            found = Node(again, collector, node.nvml)
            wait_for(lambda: found.reason() == pb.REASON_QUIESCED, "that it says why it reads nothing")
            assert {device.uuid for device in collector.hellos()[-1].devices} >= {board.uuid for board in BOARDS}
            assert found.touching() == []
            assert node.nvml.calls() == calls
            assert found.command("resume").returncode == 0
            wait_for(lambda: found.reason() == pb.REASON_OK, "that the boards are read again")


@pytest.mark.server("cc")
def test_a_reader_that_hangs_is_named_and_let_go_of_when_it_comes_back(node: Node) -> None:
    board: Device = node.nvml.scenario.devices[0]
    node.nvml.change(0, faults={"*": Hang()})
    wait_for(lambda: node.readers()["nvidia"] == "stuck", "that the reader hangs")
    done = node.command("quiesce", "--for", "10m")
    assert done.returncode == 1
    assert "reader nvidia is stuck" in done.stderr
    assert "fallow-agent resume" in done.stderr
    assert node.touching()
    node.nvml.change(0, faults=board.faults)
    wait_for(lambda: node.readers()["nvidia"] == "quiesced", "that it lets go")
    assert node.touching() == []


@pytest.mark.server("cc")
def test_the_collector_asks_for_it_and_takes_it_back(node: Node) -> None:
    node.collector.say(pb.ToAgent(quiesce=pb.Quiesce(for_s=600.0, by="alice")))
    wait_for(lambda: node.readers()["nvidia"] == "quiesced", "that it lets go")
    assert node.touching() == []
    assert (node.agent.run_dir / quiesce.ORDER).exists()  # so that it outlives this agent
    for bad in (-1.0, float("nan"), quiesce.LONGEST_S + 1):
        node.collector.say(pb.ToAgent(quiesce=pb.Quiesce(for_s=bad)))
    wait_for(lambda: node.agent.log.count("quiesce refused") == 3, "that what cannot be is refused")
    node.collector.say(pb.ToAgent(quiesce=pb.Quiesce(for_s=0.0, by="alice")))
    wait_for(lambda: node.readers()["nvidia"] == "ok", "that it comes back")


@pytest.mark.server("cc")
def test_a_node_whose_devices_are_leased_is_quiesced_by_force_only(node: Node) -> None:
    node.collector.fence(pb.DeviceFence(device=BOARDS[1].uuid, token=7, held=True, lease_id="l1", holder="alice"))
    wait_for(lambda: "alice" in (node.agent.run_dir / "fences.json").read_text(), "that the lease is shown")
    done = node.command("quiesce", "--for", "10m")
    assert done.returncode == 1
    assert f"{BOARDS[1].uuid} by alice (lease l1)" in done.stderr
    assert not (node.agent.run_dir / quiesce.ORDER).exists()
    node.quiesce("10m", "--force")


def test_without_an_agent_nothing_is_held_and_one_that_starts_meanwhile_waits(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path, "127.0.0.1:9")
    agent.run_dir.mkdir()
    node = Node(agent, None, None)  # type: ignore[arg-type]  # neither is asked
    assert "no agent runs" in node.quiesce()
    assert (agent.run_dir / quiesce.ORDER).exists()
    assert node.command("resume").stdout == "fallow-agent: the readers come back\n"
    assert node.command("resume").stdout == "fallow-agent: nothing was quiesced\n"


@pytest.mark.parametrize("time", ["0", "25h", "-1m", "soon", "", "0.5s", "4s"])
def test_a_time_that_cannot_be_is_wrong_usage(tmp_path: Path, time: str) -> None:
    agent = AgentProcess(tmp_path, "127.0.0.1:9")
    done = Node(agent, None, None).command("quiesce", f"--for={time}")  # type: ignore[arg-type]  # neither is asked
    assert done.returncode == 2
    assert "expected such as 90s, 10m or 2h" in done.stderr


@pytest.mark.parametrize(("boot_id", "until", "left"), [
    ("this", 100.5, 0.5),
    ("this", 100.0, None),
    ("this", 99.0, None),
    ("other", 100.5, None),
    ("this", 100.0 + quiesce.LONGEST_S, quiesce.LONGEST_S),
    ("this", 101.0 + quiesce.LONGEST_S, None),
    ("this", float("nan"), None),
])
def test_an_order_holds_in_its_boot_and_its_time_only(boot_id: str, until: float, left: float | None) -> None:
    assert quiesce.left_s(Order(boot_id, until, "alice"), "this", 100.0) == left


def test_a_file_that_is_no_order_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / quiesce.ORDER
    path.write_text("{")
    with pytest.raises(QuiesceError, match="fallow-agent resume"):
        quiesce.read(path, Order)
    assert quiesce.remove(path)
    assert quiesce.read(path, Order) is None
    with pytest.raises(QuiesceError, match="only root and the agent's user"):
        quiesce.write(tmp_path / "missing" / quiesce.ORDER, Order("b", 1.0, "alice"))
