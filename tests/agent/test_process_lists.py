"""What the collector is told of the processes of devices, and how seldom /proc is asked for it."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fallow_agent.holders import Occupant
from fallow_agent.process_lists import MEMORY_S, MOST, RECHECK_S, UNKNOWN, Listing, ProcessLists, message
from fallow_agent.readers.reader import Process, Reading
from fallow_agent.who import Who
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.agent.collector import Collector, wait_for
from tests.agent.process import AgentProcess
from tests.simulators.nvml.fixtures import nvml, nvml_library
from tests.simulators.nvml.scenario import Process as Running
from tests.simulators.nvml.scenario import Scenario, h100
from tests.simulators.nvml.simulator import Simulator

__all__ = ["nvml", "nvml_library"]


class Node:
    """People of a node by pid, and how often each was looked up."""

    def __init__(self, *pids: int) -> None:
        self.people: dict[int, Who | None] = {
            pid: Who(float(pid), 1000, f"/slurm/uid_1000/job_{pid}", Occupant("python", "alice")) for pid in pids
        }
        self.asked: list[int] = []
        self.rechecked: list[int] = []
        self.lists = ProcessLists(self._who_is, self._started_s)

    def _who_is(self, pid: int) -> Who | None:
        self.asked.append(pid)
        return self.people.get(pid)

    def _started_s(self, pid: int) -> float | None:
        self.rechecked.append(pid)
        who = self.people.get(pid)
        return None if who is None else who.started_s

    def read(
        self, *pids: int, at: float = 0.0, memory: float = 1.0, holders: tuple[pb.Holder, ...] = ()
    ) -> list[Listing]:
        return self.lists.take([reading(*pids, memory=memory)], holders, at)


def reading(*pids: int, device: str = "a", memory: float = 1.0) -> Reading:
    return Reading(device, {"processes": float(len(pids))}, processes=tuple(Process(pid, memory) for pid in pids))


def pids(listings: list[Listing]) -> list[list[int]]:
    return [[each.pid for each in listing.processes] for listing in listings]


def test_a_list_is_told_once_and_again_when_a_process_comes_or_goes() -> None:
    node = Node(1, 2)
    told = [pids(node.read(*now)) for now in ((), (), (1,), (1,), (1, 2), (2, 1), (2,), (2,), ())]
    assert told == [[[]], [], [[1]], [], [[1, 2]], [], [[2]], [], [[]]]


def test_a_process_is_looked_up_once_on_whatever_devices_it_is() -> None:
    node = Node(1)
    both = [reading(1, device="a"), reading(1, device="b")]
    for second in range(9):
        node.lists.take(both, (), float(second))
    assert node.asked == [1]
    assert node.rechecked == []


def test_a_pid_that_was_given_to_another_process_is_another_process() -> None:
    node = Node(1)
    node.read(1)
    node.people[1] = Who(99.0, 2000, "/", Occupant("other", "bob"))
    assert node.read(1, at=RECHECK_S / 2) == []
    (listing,) = node.read(1, at=RECHECK_S)
    assert listing.processes[0].who == node.people[1]


def test_a_process_that_left_and_came_back_is_looked_up_again() -> None:
    node = Node(1)
    for now in ((1,), (), (1,)):
        node.read(*now)
    assert node.asked == [1, 1]


def test_a_process_that_cannot_be_looked_up_is_listed_as_such_and_tried_again() -> None:
    node = Node()
    (listing,) = node.read(4)
    assert listing.processes[0].who is None
    assert node.read(4, at=1.0) == []
    node.people[4] = Who(4.0, 1000, "", Occupant("python", "alice"))
    (listing,) = node.read(4, at=RECHECK_S)
    assert listing.processes[0].who == node.people[4]


def test_a_process_that_ended_and_still_holds_its_device_is_listed_without_a_name() -> None:
    node = Node(1)
    node.read(1)
    node.people.clear()
    (listing,) = node.read(1, at=RECHECK_S)
    assert listing.processes[0][:3] == (1, 1.0, None)


def test_memory_alone_is_told_once_a_minute() -> None:
    node = Node(1)
    node.read(1, memory=1.0)
    assert node.read(1, memory=2.0, at=MEMORY_S - 1) == []
    (listing,) = node.read(1, memory=3.0, at=MEMORY_S)
    assert listing.processes[0].memory_bytes == 3.0
    assert node.read(1, memory=3.0, at=3 * MEMORY_S) == []


def test_no_more_processes_are_named_than_are_looked_at_and_the_others_are_counted() -> None:
    node = Node()
    (listing,) = node.read(*range(1, MOST + 6))
    assert (len(listing.processes), listing.more) == (MOST, 5)
    assert len(node.asked) == MOST


def test_processes_that_the_driver_counts_and_does_not_name_are_counted() -> None:
    (listing,) = Node().lists.take([Reading("a", {"processes": 3.0})], (), 0.0)
    assert (listing.processes, listing.more) == ((), 3)


def test_a_process_that_a_rule_names_is_exempt_from_the_moment_that_the_rule_is_known() -> None:
    node = Node(1)
    node.read(1)
    (listing,) = node.read(1, holders=(pb.Holder(command="python"),))
    assert listing.processes[0].exempt
    assert node.read(1, holders=(pb.Holder(command="python"),)) == []


def test_a_list_that_is_not_read_any_more_is_not_known_and_one_that_never_was_is_not_told() -> None:
    node = Node(1)
    silent = Reading("a", reason=pb.REASON_LOST)
    assert node.lists.take([silent, Reading("b", {"utilization_ratio": 0.0})], (), 0.0) == []
    node.read(1)
    assert node.lists.take([silent], (), 1.0) == [Listing("a", "not read: REASON_LOST")]
    assert node.lists.take([silent], (), 2.0) == []
    assert pids(node.read(1, at=3.0)) == [[1]]


def test_of_a_reader_that_says_nothing_no_list_is_known_until_it_speaks_again() -> None:
    node = Node(1)
    node.read(1)
    assert node.lists.lose(["a", "b"], "reader nvidia is stuck", 1.0) == [Listing("a", "reader nvidia is stuck")]
    assert node.lists.lose(["a", "b"], "reader nvidia is stuck", 2.0) == []
    assert pids(node.read(1, at=3.0)) == [[1]]


def test_a_device_that_went_and_came_is_told_afresh() -> None:
    node = Node(1)
    node.read(1)
    node.lists.drop(["a"])
    assert pids(node.read(1, at=1.0)) == [[1]]


def test_on_the_wire_a_process_has_its_start_as_a_time_and_an_unknown_one_says_why() -> None:
    node = Node(1)
    (listing,) = node.lists.take(
        [Reading("a", {"processes": 2.0}, processes=(Process(1, 5.0), Process(9, None)))], (), 0.0
    )
    known, unknown = message(listing, lambda boot: round(boot * 1000) + 7).processes
    assert known == pb.Process(
        pid=1, started_ms=1007, command="python", user="alice", uid=1000, cgroup="/slurm/uid_1000/job_1", memory_bytes=5
    )
    assert unknown == pb.Process(pid=9, problem=UNKNOWN)


@pytest.mark.server("cc")
def test_they_travel_from_the_driver_and_the_kernel_to_the_collector_and_again_to_each_new_one(
    tmp_path: Path, nvml: Simulator
) -> None:
    gone = 2**22 + 1  # above the largest process id that a kernel gives
    agent = AgentProcess(tmp_path, "", environment=nvml.environment)
    with Collector() as collector:
        text = agent.config.read_text().replace('["host"]', '["nvidia"]')
        agent.config.write_text(text.replace('collector = ""', f'collector = "{collector.address}"'))
        nvml.play(Scenario((h100(0),)))
        with agent:
            wait_for(lambda: len(told(collector)) == 1, "that there is no process")
            nvml.play(Scenario((replace(h100(0), compute_processes=(Running(os.getpid(), 7), Running(gone, 1))),)))
            wait_for(lambda: len(told(collector)) == 2, "that there are processes")
            port = collector.port
            collector.stop()
            with Collector(port=port) as again:
                wait_for(lambda: len(told(again)) == 1, "the list on a new stream")
                assert told(again) == told(collector)[1:]
                assert agent.stop() == 0
    none, some = told(collector)
    assert not none.processes
    here, missing = some.processes
    assert (here.pid, here.memory_bytes, here.problem) == (os.getpid(), 7, "")
    assert here.command.startswith("python")
    assert here.started_ms > 0
    assert (missing.pid, missing.problem) == (gone, UNKNOWN)


def told(collector: Collector) -> list[pb.Processes]:
    return [message.processes for message in list(collector.heard) if message.HasField("processes")]
