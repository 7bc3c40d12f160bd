"""What NVIDIA's driver tells unasked, through a real reader's process on the simulated library."""

import select
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fallow_agent.happening import Happening
from fallow_agent.readers import messages as m
from fallow_agent.readers.child import Answer, ReaderChild, Zygote
from fallow_agent.readers.lifecycle import Limits
from fallow_agent.readers.status import State
from fallow_proto.metrics import Group
from fallow_proto.states import EventKind
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.simulators.nvml.scenario import Event, Hang, Instance, Scenario, SystemEvent, h100, partitioned
from tests.simulators.nvml.simulator import Simulator

pytestmark = pytest.mark.server("cc")

UNBOUND, BOUND = 1, 2
DOUBLE_BIT, XID, MIG_CHANGED, RECOVERY = 0x2, 0x8, 0x100, 0x8000
BOARDS = (h100(0), h100(1))
REGISTER, WAIT = "nvmlDeviceRegisterEvents", "nvmlEventSetWait_v2"


class Listener:
    """The nvidia reader's process, driven until something is seen."""

    def __init__(self, nvml: Simulator, run_dir: Path) -> None:
        self.nvml = nvml
        self._zygote = Zygote(readers=("nvidia",))
        limits = Limits(answer=0.3, held_retry=0.05, first_retry=0.05)
        self.child = ReaderChild("nvidia", self._zygote, run_dir, time.monotonic(), limits=limits)
        self.answers: list[Answer] = []

    @property
    def told(self) -> list[Happening]:
        return [each for answer in self.answers if isinstance(answer, m.Happened) for each in answer.happenings]

    @property
    def opened(self) -> int:
        return sum(isinstance(answer, m.Opened) for answer in self.answers)

    def until(self, seen: Callable[[], bool]) -> None:
        give_up = time.monotonic() + 60.0
        while not seen():
            now = time.monotonic()
            assert now < give_up, f"{self.child.status}, {self.answers}, {self.nvml.calls()}"
            self.answers += self.child.tick(now)
            select.select([self.child], [], [], 0.02)
            self.answers += self.child.receive(time.monotonic())

    def until_listening(self) -> None:
        before = self.nvml.calls().get(WAIT, 0)
        self.until(lambda: self.opened > 0 and self.nvml.calls().get(WAIT, 0) > before)

    def stop(self) -> None:
        self.child.stop(time.monotonic())
        self.until(lambda: self.child.over)
        self.child.close()
        self._zygote.close()


@pytest.fixture
def listener(nvml: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    for name, value in nvml.environment.items():
        monkeypatch.setenv(name, value)
    listener = Listener(nvml, tmp_path)
    yield listener
    listener.stop()


def xid(board: int, code: int, times: int = 1, **more: int) -> Event:
    return Event(XID, code, BOARDS[board].uuid, times, **more)


def test_an_xid_is_told_with_its_code_and_device(listener: Listener) -> None:
    listener.nvml.play(Scenario(BOARDS))
    listener.until_listening()
    listener.nvml.happen(xid(1, 79), Event(DOUBLE_BIT, 0, BOARDS[0].uuid), xid(0, 94, gpu_instance=3), xid(0, 999))
    listener.until(lambda: len(listener.told) == 4)
    assert set(listener.told) == {
        Happening(EventKind.XID, BOARDS[1].uuid, "Xid 79", 79, "nvml"),
        Happening(EventKind.DEVICE_FAULT, BOARDS[0].uuid, "double-bit ECC error", DOUBLE_BIT, "nvml"),
        Happening(EventKind.XID, BOARDS[0].uuid, "Xid 94 on GPU instance 3", 94, "nvml"),
        Happening(EventKind.XID, BOARDS[0].uuid, "unknown Xid", 999, "nvml"),
    }


SMALL, HALF, OTHER_HALF = Instance("MIG-1", 3), Instance("MIG-2", 5, 0), Instance("MIG-3", 5, 1)
CUT = partitioned(BOARDS[0], SMALL, HALF, OTHER_HALF)


@pytest.mark.parametrize(("place", "device", "where"), [
    ({"gpu_instance": 3, "compute_instance": 0}, SMALL.uuid, " on GPU instance 3, compute instance 0"),
    ({"gpu_instance": 3}, SMALL.uuid, " on GPU instance 3"),
    ({"gpu_instance": 5, "compute_instance": 1}, OTHER_HALF.uuid, " on GPU instance 5, compute instance 1"),
    ({"gpu_instance": 5}, CUT.uuid, " on GPU instance 5"),  # which has no name: it is cut into two
    ({"gpu_instance": 9}, CUT.uuid, " on GPU instance 9"),
    ({}, CUT.uuid, ""),
])
def test_an_xid_of_an_instance_is_told_of_the_instance_where_it_is_known_and_of_the_board_where_not(
    listener: Listener, place: dict[str, int], device: str, where: str
) -> None:
    listener.nvml.play(Scenario((CUT,)))
    listener.until_listening()
    listener.nvml.happen(xid(0, 94, **place))
    listener.until(lambda: bool(listener.told))
    assert listener.told == [Happening(EventKind.XID, device, f"Xid 94{where}", 94, "nvml")]


def test_once_a_board_was_cut_anew_its_places_are_not_those_that_were_named(listener: Listener) -> None:
    listener.nvml.play(Scenario((CUT,)))
    listener.until_listening()
    listener.nvml.happen(Event(MIG_CHANGED, 0, CUT.uuid), xid(0, 94, gpu_instance=3))
    listener.until(lambda: bool(listener.told))
    assert [each.device for each in listener.told] == [CUT.uuid]


@pytest.mark.parametrize("boards", [1, 16])
def test_every_handle_goes_at_once_when_devices_are_unbound_and_comes_back_by_itself(
    listener: Listener, boards: int
) -> None:
    listener.nvml.play(Scenario(BOARDS))
    listener.until_listening()
    unbound = tuple(SystemEvent(UNBOUND, 0x17 + board) for board in range(boards))
    listener.nvml.play(replace(listener.nvml.scenario, system_events=(SystemEvent(BOUND), *unbound)))
    listener.until(lambda: listener.nvml.calls().get("nvmlShutdown", 0) == 1)  # nobody has asked it anything
    listener.until(lambda: listener.child.status.state is State.FAILED)
    assert (listener.child.status.reason, listener.told) == (pb.REASON_DRIVER, [])
    assert "lets go of a device" in listener.child.status.message
    listener.until(lambda: listener.opened == 2)
    assert listener.child.status.state is State.OK


@pytest.mark.parametrize("name", ["nvmlSystemEventSetCreate", "nvmlSystemEventSetWait"])
def test_a_library_without_system_events_is_listened_to_for_the_others(listener: Listener, name: str) -> None:
    listener.nvml.play(Scenario(BOARDS, faults={name: 13}))
    listener.until_listening()
    listener.nvml.happen(xid(0, 48))
    listener.until(lambda: [each.code for each in listener.told] == [48])
    asked = listener.nvml.calls()[name]
    listener.until_listening()
    assert listener.nvml.calls()[name] == asked == 1


def test_a_storm_is_few_messages_and_every_one_of_it_counts(listener: Listener) -> None:
    listener.nvml.play(Scenario(BOARDS))
    listener.until_listening()
    listener.nvml.happen(*(xid(0, code, times=40) for code in range(1, 30)))
    listener.until(lambda: sum(each.times for each in listener.told) == 29 * 40)
    assert {each.code for each in listener.told} == set(range(1, 30))
    assert sum(isinstance(answer, m.Happened) for answer in listener.answers) < 29 * 40 / 10


def test_a_board_is_registered_for_what_it_supports_only(listener: Listener) -> None:
    old, none = replace(h100(0), event_types=XID), replace(h100(1), event_types=None)
    listener.nvml.play(Scenario((old, none)))
    listener.until_listening()
    assert listener.nvml.calls()[REGISTER] == 1
    listener.nvml.happen(Event(DOUBLE_BIT, 0, old.uuid), xid(1, 13), xid(0, 31))
    listener.until(lambda: bool(listener.told))
    assert [each.code for each in listener.told] == [31]


def test_a_board_that_cannot_be_registered_keeps_no_other_from_being_heard(listener: Listener) -> None:
    listener.nvml.play(Scenario((replace(h100(0), faults={REGISTER: 15}), h100(1))))
    listener.until_listening()
    listener.nvml.happen(xid(1, 31))
    listener.until(lambda: bool(listener.told))


def test_boards_none_of_which_can_be_registered_at_first_are_heard_once_one_can(listener: Listener) -> None:
    listener.nvml.play(Scenario((replace(h100(0), faults={REGISTER: 15}),)))
    listener.until(lambda: listener.nvml.calls().get("nvmlEventSetFree", 0) > 0)
    listener.nvml.change(0, faults={})
    listener.until_listening()
    listener.nvml.happen(xid(0, 31))
    listener.until(lambda: [each.code for each in listener.told] == [31])


def test_a_set_that_breaks_is_made_anew(listener: Listener) -> None:
    listener.nvml.play(Scenario(BOARDS))
    listener.until_listening()
    listener.nvml.play(replace(listener.nvml.scenario, faults={WAIT: 999}))
    listener.until(lambda: listener.nvml.calls().get("nvmlEventSetFree", 0) > 0)
    listener.nvml.play(replace(listener.nvml.scenario, faults={}))
    made = listener.nvml.calls()["nvmlEventSetCreate"]
    listener.until(lambda: listener.nvml.calls()["nvmlEventSetCreate"] > made)
    listener.until_listening()
    listener.nvml.happen(xid(0, 48))
    listener.until(lambda: [each.code for each in listener.told] == [48])


def test_a_driver_without_events_is_read_all_the_same(listener: Listener) -> None:
    listener.nvml.play(Scenario(tuple(replace(board, event_types=None) for board in BOARDS)))
    listener.until(lambda: listener.opened > 0)
    listener.child.ask((Group.FAST,), time.monotonic())
    listener.until(lambda: isinstance(listener.answers[-1], m.Read))


def test_an_xid_is_told_while_a_read_hangs_in_the_driver(listener: Listener) -> None:
    listener.nvml.play(Scenario(BOARDS))
    listener.until_listening()
    listener.nvml.change(0, faults={"nvmlDeviceGetUtilizationRates": Hang()})
    listener.child.ask((Group.FAST,), time.monotonic())
    listener.until(lambda: listener.child.status.state is State.STUCK)
    listener.nvml.happen(xid(0, 119))
    listener.until(lambda: [each.code for each in listener.told] == [119])
    assert listener.child.status.state is State.STUCK
    listener.nvml.change(0, faults={})
    listener.until(lambda: listener.child.status.state is State.OK)


def test_changed_partitions_have_the_devices_named_again(listener: Listener) -> None:
    listener.nvml.play(Scenario(BOARDS))
    listener.until_listening()
    listener.nvml.happen(Event(MIG_CHANGED, 0, BOARDS[0].uuid), xid(1, 31))
    listener.until(lambda: bool(listener.told))
    listener.child.ask((Group.MEDIUM,), time.monotonic())
    listener.until(lambda: listener.opened == 2)
