"""Mounts: which are local, which can be written, and whose servers answer."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from fallow_agent.happening import Happening
from fallow_agent.readers.host_disks import Disks
from fallow_agent.readers.host_mounts import Mount, holding, parsed, remote
from fallow_agent.readers.host_servers import Answers, Servers, answers
from fallow_proto.states import EventKind

MOUNTINFO = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / ro,relatime shared:1 master:2 - ext4 /dev/vda rw,errors=remount-ro
28 27 259:1 / /var rw - xfs /dev/nvme0n1p1 rw,attr2
40 27 0:50 / /mnt/with\040blank rw - nfs4 nas1:/home rw,vers=4.2,hard
41 27 0:50 /users /users rw - nfs4 nas1:/home rw,vers=4.2,hard
42 27 0:51 / /scratch rw - lustre mds@o2ib:/work rw
43 27 0:52 / /net rw - autofs systemd-1 rw
half a line
44 27 0:53 /
"""


def mount(path: bytes = b"/", kind: str = "ext4", options: str = "rw", device: str = "254:0") -> Mount:
    return Mount(device, path, kind, "/dev/vda", frozenset(options.split(",")))


def test_mounts_are_told_by_the_options_of_the_file_system_and_half_lines_are_left_out() -> None:
    mounts = parsed(MOUNTINFO)
    assert [each.path for each in mounts] == [
        b"/proc", b"/", b"/var", b"/mnt/with blank", b"/users", b"/scratch", b"/net",
    ]
    root = mounts[1]
    assert (root.device, root.kind, root.source, root.local, root.read_only) == (
        "254:0", "ext4", "/dev/vda", True, False,
    )


def test_each_file_system_of_another_machine_is_asked_once() -> None:
    assert [(each.source, each.local) for each in remote(parsed(MOUNTINFO))] == [
        ("nas1:/home", False), ("mds@o2ib:/work", False),
    ]


def test_a_folder_stands_on_the_last_mount_of_the_longest_path() -> None:
    root, below, over = mount(), mount(b"/var"), mount(b"/var", device="254:1")
    assert holding(b"/var", [root, below, over]) is over
    assert holding(b"/var", [root, mount(b"/variety")]) is root
    assert holding(b"/", [below, root]) is root
    assert holding(b"/", []) is None


@pytest.mark.parametrize("options", ["ro,errors=remount-ro", "rw,emergency_ro", "rw,shutdown"])
def test_a_file_system_that_cannot_be_written_any_more_is_told_once_and_again_after_it_could(options: str) -> None:
    disks = Disks()
    assert disks.take([mount()])[1] == []
    values, happened = disks.take([mount(options=options)])
    assert (values["root_read_only"], values["var_read_only"]) == (1, 1)
    assert happened == [Happening(
        EventKind.FILESYSTEM_READ_ONLY, "", "/ (ext4 on /dev/vda) became read-only; the kernel's log says why (dmesg)",
        source="proc",
    )]
    assert disks.take([mount(options=options)])[1] == []
    disks.take([mount()])
    assert len(disks.take([mount(options=options)])[1]) == 1


def test_a_root_that_is_read_only_by_design_is_no_news() -> None:
    values, happened = Disks().take([mount(options="ro"), mount(b"/var", device="254:1")])
    assert (values["root_read_only"], values["var_read_only"], happened) == (1, 0, [])


@pytest.mark.parametrize("kind", ["nfs", "fuse.sshfs", "squashfs", "zfs"])
def test_a_root_that_might_keep_its_caller_waiting_is_not_asked(kind: str) -> None:
    assert Disks().take([mount(kind=kind)]) == ({}, [])


def test_what_is_free_is_what_df_says() -> None:
    values, _ = Disks().take([mount()])
    usage = shutil.disk_usage("/")
    assert values["root_free_ratio"] == pytest.approx(usage.free / (usage.used + usage.free), abs=0.01)


def test_a_mount_that_answers_is_told_from_one_that_is_hidden_or_gone(tmp_path: Path) -> None:
    found = tmp_path.stat().st_dev
    here = mount(os.fsencode(tmp_path), "nfs", device=f"{os.major(found)}:{os.minor(found)}")
    assert answers(here) is True
    assert answers(here._replace(device="0:9999")) is None
    assert answers(here._replace(path=os.fsencode(tmp_path / "gone"))) is None
    (tmp_path / "file").touch()
    below = os.fsencode(tmp_path / "file/below")  # ENOTDIR stands for the errors of a server
    assert answers(here._replace(path=below)) is False


def test_mounts_that_are_out_of_reach_are_not_counted() -> None:
    said = {b"/a": True, b"/b": None, b"/c": False}
    servers = Servers(lambda each: said[each.path])
    mounts = [mount(path, "nfs") for path in said]
    assert servers.take(mounts, 0.0) == Answers(mounts=2, down=1)
    assert servers.take([], 60.0) == Answers(mounts=0, down=0)


def test_a_server_that_never_answers_holds_nothing_up_and_is_down_until_it_does(tmp_path: Path) -> None:
    """A FIFO without a writer keeps whoever opens it in the kernel, as a dead server does."""
    dead = tmp_path / "dead"
    os.mkfifo(dead)
    through = threading.Event()

    def ask(each: Mount) -> bool:
        if each.path == b"/dead":
            with dead.open("rb"):
                through.set()
        return True

    servers = Servers(ask)
    mounts = [mount(path, "nfs") for path in (b"/fine", b"/dead", b"/behind")]
    assert servers.take(mounts, 0.0) is None
    assert servers.take(mounts, 29.0) is None
    assert servers.take(mounts, 60.0) == Answers(mounts=2, down=1)
    with dead.open("wb"):
        assert through.wait(20)
    dead.unlink()
    dead.touch()
    assert eventually(servers, mounts) == Answers(mounts=3, down=0)


def eventually(servers: Servers, mounts: list[Mount]) -> Answers:
    """The first answer of a new round: the one that hung is let go, and is over in a moment."""
    give_up = time.monotonic() + 20
    while (found := servers.take(mounts, 61.0)) is None or found.down:
        assert time.monotonic() < give_up
    return found
