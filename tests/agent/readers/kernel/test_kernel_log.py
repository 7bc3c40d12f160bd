"""The kernel's log as /dev/kmsg gives it, one record a read: a packet pipe does the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fallow_agent.readers.kernel_log import KernelLog, Line, Position
from fallow_agent.readers.kernel_record import Record, parsed
from tests.agent.kmsg import Kmsg
from tests.agent.users import another_user

NOW = 5_000.0


@pytest.fixture
def kmsg() -> Iterator[Kmsg]:
    kmsg = Kmsg()
    yield kmsg
    kmsg.close()


def position(folder: Path, boot: str = "boot1") -> Position:
    return Position(folder / "kernel-log", boot)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (b"6,3964,206764307,-;nvidia-nvswitch2: open (major=510)\n",
         Record(3964, 206.764307, "nvidia-nvswitch2: open (major=510)")),
        (b"4,7,9,-,caller=T1;text; with one more\n SUBSYSTEM=pci\n DEVICE=+pci:0000:17:00.0\n",
         Record(7, 9e-6, "text; with one more")),
        (b"4,7,0,-;GPU 0000:b3:00.0\\x0aNVRM: fallen\n", Record(7, 0.0, "GPU 0000:b3:00.0\nNVRM: fallen")),
        (b"4,7,0,-;\\xff\\xfe and \xfe\n", Record(7, 0.0, "\ufffd\ufffd and \ufffd")),
        (b"", None),
        (b"4,7,0", None),
        (b"4,x,0,-;text\n", None),
        (b"4,7;text\n", None),
    ],
)
def test_a_record_is_number_stamp_and_text(record: bytes, expected: Record | None) -> None:
    assert parsed(record) == expected


def test_lines_from_before_the_start_have_the_kernels_stamp_and_new_ones_the_moment(kmsg: Kmsg, tmp_path: Path) -> None:
    kmsg.say("at boot", 12.5)
    kmsg.say("by a clock that runs ahead", 9_000.0)
    log = KernelLog(kmsg.path, position(tmp_path))
    assert log.read(NOW) == [Line(12.5, "at boot"), Line(NOW, "by a clock that runs ahead")]
    assert log.read(NOW + 1) == []
    kmsg.say("now", 4_000.0)
    assert log.read(NOW + 2) == [Line(NOW + 2, "now")]
    log.close()


def test_a_later_run_does_not_tell_again_what_an_earlier_one_told(tmp_path: Path) -> None:
    told = []
    for _ in range(2):
        kmsg = Kmsg()  # it begins from the start, as the kernel's does
        for text in ("first", "second"):
            kmsg.say(text)
        log = KernelLog(kmsg.path, position(tmp_path))
        told.append([line.text for line in log.read(NOW)])
        log.close()
        kmsg.close()
    assert told == [["first", "second"], []]


def test_what_was_read_and_not_yet_made_safe_is_told_again_after_a_kill(kmsg: Kmsg, tmp_path: Path) -> None:
    kmsg.say("told, then killed")
    KernelLog(kmsg.path, position(tmp_path)).read(NOW)
    assert position(tmp_path).seq == -1
    kmsg.say("another")
    log = KernelLog(kmsg.path, position(tmp_path))
    log.read(NOW)
    log.read(NOW + 1)
    assert position(tmp_path).seq == 1
    log.close()


def test_another_boot_is_another_log(kmsg: Kmsg, tmp_path: Path) -> None:
    position(tmp_path, "boot0").keep(900)
    kmsg.say("of this boot")
    log = KernelLog(kmsg.path, position(tmp_path, "boot1"))
    assert [line.text for line in log.read(NOW)] == ["of this boot"]
    log.close()


@pytest.mark.parametrize("content", [b"", b"boot1", b"boot1 x", b"\xff\xfe", b"boot1 1 2"])
def test_a_damaged_position_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kernel-log").write_bytes(content)
    assert position(tmp_path).seq == -1


def test_what_is_no_record_is_passed_over(kmsg: Kmsg, tmp_path: Path) -> None:
    kmsg.say_raw(b"garbage")
    kmsg.say("text")
    log = KernelLog(kmsg.path, position(tmp_path))
    assert [line.text for line in log.read(NOW)] == ["text"]
    log.close()


def test_a_log_that_may_not_be_read_says_so_and_is_empty(tmp_path: Path) -> None:
    secret = tmp_path / "kmsg"
    secret.touch(mode=0o600)
    with another_user():
        log = KernelLog(str(secret), position(tmp_path))
    assert "cannot be opened: Permission denied" in log.problem
    assert log.read(NOW) == []
    log.close()


def test_without_a_path_it_is_not_read(tmp_path: Path) -> None:
    log = KernelLog("", position(tmp_path))
    assert "configuration says so" in log.problem
    assert log.read(NOW) == []


def test_a_log_that_cannot_be_read_any_more_says_so(tmp_path: Path) -> None:
    log = KernelLog(str(tmp_path), position(tmp_path))  # a folder opens, and does not read
    assert log.read(NOW) == []
    assert "reading it failed" in log.problem
    assert log.read(NOW) == []
    log.close()
