"""CPU time of the processes on a device: known only when every one of them is."""

import os
import time
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest

from fallow_agent.block import metrics_of
from fallow_agent.readers.messages import Opened, Read
from fallow_agent.readers.reader import DeviceIdentity, Process, Reading
from fallow_agent.work import COLUMN, from_proc, with_cpu_seconds
from fallow_proto.metrics import Group
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.collector import Collector, wait_for
from tests.agent.process import AgentProcess
from tests.simulators.nvml.fixtures import nvml, nvml_library
from tests.simulators.nvml.scenario import Process as Running
from tests.simulators.nvml.scenario import Scenario, h100
from tests.simulators.nvml.simulator import Simulator

__all__ = ["nvml", "nvml_library"]

SECONDS = {1: 10.0, 2: 0.5}
LIMIT = Reading("a", {"power_limit_watts": 300.0})


def fast(processes: float | None, *pids: int) -> Reading:
    values = {} if processes is None else {"processes": processes}
    return Reading("a", values, processes=tuple(Process(pid, 1.0) for pid in pids))


@pytest.mark.parametrize(("found", "seconds"), [
    (fast(0.0), 0.0),
    (fast(1.0, 1), 10.0),
    (fast(2.0, 1, 2), 10.5),
    (fast(2.0, 1, 404), None),  # one is hidden or gone
    (fast(2.0, 1), None),  # counted by the driver, not named
    (fast(None), None),
    (Reading("a", reason=pb.REASON_LOST), None),
])
def test_the_cpu_time_of_all_processes_of_a_device_is_added_up_or_not_known(
    found: Reading, seconds: float | None
) -> None:
    read = with_cpu_seconds(Read({Group.FAST: (found,), Group.MEDIUM: (LIMIT,)}), SECONDS.get)
    assert read.readings[Group.FAST] == (found,)
    (medium,) = read.readings[Group.MEDIUM]
    assert medium.values.get(COLUMN) == seconds
    assert medium.values["power_limit_watts"] == 300.0


def test_nobody_is_looked_up_on_a_tick_of_the_fast_group_alone() -> None:
    def fail(pid: int) -> float:
        raise AssertionError(pid)

    read = Read({Group.FAST: (fast(1.0, 1),)})
    assert with_cpu_seconds(read, fail) == read


def test_a_device_that_has_nothing_else_of_the_medium_group_has_its_cpu_time_all_the_same() -> None:
    read = with_cpu_seconds(Read({Group.FAST: (fast(1.0, 1),), Group.MEDIUM: ()}), SECONDS.get)
    assert read.readings[Group.MEDIUM] == (Reading("a", {COLUMN: 10.0}),)


def test_why_a_device_said_nothing_of_the_medium_group_is_kept() -> None:
    denied = Reading("a", reason=pb.REASON_NOT_PERMITTED)
    read = with_cpu_seconds(Read({Group.FAST: (fast(0.0),), Group.MEDIUM: (denied,)}), SECONDS.get)
    assert read.readings[Group.MEDIUM] == (Reading("a", {COLUMN: 0.0}, reason=pb.REASON_NOT_PERMITTED),)


def test_the_column_is_there_where_processes_are() -> None:
    def columns(*unsupported: str) -> list[str]:
        device = DeviceIdentity("a", "acme", "One", 0, unsupported=frozenset(unsupported))
        return [metric.name for metric in metrics_of(Group.MEDIUM, Opened((device,), {Group.FAST: ("processes",)}))]

    assert columns() == [COLUMN]
    assert columns("processes") == []


def test_the_kernels_own_count_of_this_very_process_rises_and_that_of_none_is_not_known(tmp_path: Path) -> None:
    seconds_of = from_proc()
    before = seconds_of(os.getpid())
    used = time.process_time()
    while time.process_time() < used + 0.05:
        pass
    after = seconds_of(os.getpid())
    assert before is not None
    assert after is not None
    assert after >= before + 0.03
    assert from_proc(tmp_path)(1) is None


@pytest.mark.server("cc")
def test_it_travels_with_the_medium_group_from_the_driver_and_the_kernel_to_the_collector(
    tmp_path: Path, nvml: Simulator
) -> None:
    gone = 2**22 + 1  # above the largest process id that a kernel gives
    nvml.play(Scenario((
        h100(0),
        replace(h100(1), compute_processes=(Running(os.getpid(), 1),)),
        replace(h100(2), compute_processes=(Running(os.getpid(), 1), Running(gone, 1))),
    )))
    agent = AgentProcess(tmp_path, "", environment=nvml.environment)
    with Collector() as collector:
        text = agent.config.read_text().replace('["host"]', '["nvidia"]')
        agent.config.write_text(text.replace('collector = ""', f'collector = "{collector.address}"'))
        with agent:
            wait_for(lambda: bool(cpu_seconds(collector)), "the medium group")
            free, busy, hidden = cpu_seconds(collector)
            assert agent.stop() == 0
    assert free == 0.0
    assert busy > 0.1
    assert isnan(hidden)


def cpu_seconds(collector: Collector) -> list[float]:
    """The column of the first report that has it, device by device."""
    layouts = {message.layout.hash: message.layout for message in collector.heard if message.HasField("layout")}
    for message in list(collector.heard):
        for report in message.reports.reports:
            for readings in report.readings:
                block = layouts[message.reports.layout].blocks[readings.block]
                if COLUMN in block.counters:
                    return list(readings.counters)[list(block.counters).index(COLUMN) :: len(block.counters)]
    return []
