"""Which processes hold nothing, by rule and by what /proc says of them."""

import os
import pwd
from pathlib import Path

import pytest

from fallow_agent.holders import Occupant, holds_nothing, local_users, occupant_of, with_exempt
from fallow_agent.readers.messages import Read
from fallow_agent.readers.reader import Process, Reading
from fallow_proto.metrics import Group
from fallow_proto.v1 import telemetry_pb2 as pb

XORG = Occupant("Xorg", "root")
MIB = 1 << 20


@pytest.mark.parametrize(
    ("holder", "occupant", "memory_bytes", "exempt"),
    [
        (pb.Holder(command="Xorg"), XORG, 1.0, True),
        (pb.Holder(command="Xorg"), XORG, None, True),
        (pb.Holder(command="xorg"), XORG, 1.0, False),
        (pb.Holder(command="Xorg", user="root"), XORG, 1.0, True),
        (pb.Holder(command="Xorg", user="root"), Occupant("Xorg", "alice"), 1.0, False),
        (pb.Holder(user="gdm"), Occupant("gnome-shell", "gdm"), 1.0, True),
        (pb.Holder(command="Xorg", max_memory_bytes=64 * MIB), XORG, 64.0 * MIB, True),
        (pb.Holder(command="Xorg", max_memory_bytes=64 * MIB), XORG, 65.0 * MIB, False),
        (pb.Holder(command="Xorg", max_memory_bytes=64 * MIB), XORG, None, False),
        (pb.Holder(max_memory_bytes=MIB), Occupant("python", "alice"), 1.0, True),
        (pb.Holder(), XORG, 1.0, False),
        (pb.Holder(command="nvidia-persistenced"), Occupant("nvidia-persiste", "root", whole=False), 1.0, True),
        (pb.Holder(command="nvidia-persistenced"), Occupant("nvidia-persiste", "root"), 1.0, False),
        (pb.Holder(command="Xorg"), Occupant("nvidia-persiste", "root", whole=False), 1.0, False),
    ],
)
def test_a_process_is_exempt_when_every_condition_of_a_rule_holds(
    holder: pb.Holder, occupant: Occupant, memory_bytes: float | None, exempt: bool
) -> None:
    assert holds_nothing(holder, occupant, memory_bytes) is exempt


def reading(processes: float | None, *pids: int) -> Reading:
    values = {} if processes is None else {"processes": processes}
    return Reading("a", values, processes=tuple(Process(pid, 1.0) for pid in pids))


@pytest.mark.parametrize(
    ("found", "exempt"),
    [
        (reading(2.0, 1, 2), 1.0),
        (reading(0.0), 0.0),
        (reading(2.0, 404, 2), 0.0),  # cannot be looked up: it holds
        (reading(1.0), 0.0),  # counted by the driver, not named
        (reading(None), None),
    ],
)
def test_exempt_processes_are_counted_wherever_processes_are_known(found: Reading, exempt: float | None) -> None:
    people = {1: XORG, 2: Occupant("python", "alice")}
    read = with_exempt(Read({Group.FAST: (found,)}), [pb.Holder(command="Xorg")], people.get)
    assert read.readings[Group.FAST][0].values.get("processes_exempt") == exempt
    assert read.readings[Group.FAST][0].values.get("processes") == found.values.get("processes")


def test_without_rules_every_process_holds_and_none_is_looked_up() -> None:
    def fail(pid: int) -> Occupant | None:
        raise AssertionError(pid)

    read = with_exempt(Read({Group.FAST: (reading(1.0, 1),)}), [], fail)
    assert read.readings[Group.FAST][0].values["processes_exempt"] == 0.0


def test_other_groups_are_left_as_they_are() -> None:
    medium = (Reading("a", {"power_limit_watts": 300.0}),)
    assert with_exempt(Read({Group.MEDIUM: medium}), [], lambda pid: None).readings == {Group.MEDIUM: medium}


def write_process(proc: Path, pid: int, name: str, uids: str, exe: str | None = None) -> None:
    (proc / str(pid)).mkdir()
    (proc / f"{pid}/status").write_text(f"Name:\t{name}\nUmask:\t0022\nState:\tS (sleeping)\nUid:\t{uids}\nGid:\t0\n")
    if exe is not None:
        (proc / f"{pid}/exe").symlink_to(exe)


@pytest.mark.parametrize(
    ("name", "uids", "exe", "expected"),
    [
        ("Xorg", "0\t0\t0\t0", "/usr/lib/xorg/Xorg", Occupant("Xorg", "root")),
        ("Xorg", "1000\t0\t0\t0", "/usr/lib/xorg/Xorg (deleted)", Occupant("Xorg", "root")),
        ("fake", "1000\t1000\t1000\t1000", "/home/alice/Xorg", Occupant("Xorg", "alice")),
        ("python3", "2000\t2000\t2000\t2000", None, Occupant("python3", "2000")),
        ("nvidia-persiste", "0\t0\t0\t0", None, Occupant("nvidia-persiste", "root", whole=False)),
    ],
)
def test_a_process_is_its_executable_and_the_user_that_it_acts_for(
    tmp_path: Path, name: str, uids: str, exe: str | None, expected: Occupant
) -> None:
    write_process(tmp_path, 7, name, uids, exe)
    assert occupant_of(7, {0: "root", 1000: "alice"}, tmp_path) == expected


def test_a_process_that_is_gone_is_nobody(tmp_path: Path) -> None:
    assert occupant_of(7, {}, tmp_path) is None
    (tmp_path / "7").mkdir()
    (tmp_path / "7/status").write_text("")
    assert occupant_of(7, {}, tmp_path) is None


def test_this_very_process_can_be_looked_up() -> None:
    occupant = occupant_of(os.getpid(), local_users())
    assert occupant is not None
    assert occupant.command.startswith("python")
    assert occupant.user == pwd.getpwuid(os.geteuid()).pw_name


def test_users_are_those_of_the_machine_and_broken_lines_are_left_out(tmp_path: Path) -> None:
    passwd = tmp_path / "passwd"
    passwd.write_text("root:x:0:0:root:/root:/bin/sh\nhalf\ngdm:x:120:125::/var/lib/gdm:/bin/false\ntoor:x:0:0::/:\n")
    assert local_users(passwd) == {0: "root", 120: "gdm"}
    assert local_users(tmp_path / "missing") == {}
