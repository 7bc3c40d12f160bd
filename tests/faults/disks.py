"""Disks of the tests' own that can be filled, break and lose their power: file systems in memory and in files."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

COMMIT_S = 600
"""The journal of a Disk is written when a program asks for it, and not every 5 s as well."""


class Disk:
    """An ext4 file system in a file, mounted at `at` as the state folder of a program. After an error it is read-only,
    as that of most servers is."""

    def __init__(self, image: Path, at: Path, mib: int) -> None:
        _need("mkfs.ext4")
        self.image, self.at = image, at
        with image.open("wb") as file:
            file.truncate(mib * 2**20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unmount()

    def mount(self) -> None:
        self.at.mkdir(parents=True, exist_ok=True)
        _mount("-o", f"loop,errors=remount-ro,commit={COMMIT_S}", self.image, self.at)

    def unmount(self) -> None:
        subprocess.run(["umount", self.at], check=True)

    def write_back(self) -> None:
        """What the kernel does by itself every half a minute."""
        subprocess.run(["sync", "--file-system", self.at], check=True)

    def copy(self, to: Path) -> None:
        """What the device holds at this moment: all that would be left if the power failed now."""
        subprocess.run(["cp", "--sparse=always", self.image, to], check=True)

    def swap(self, image: Path) -> None:
        """Its programs have ended: the content is that of a copy from now on, and the journal is replayed."""
        self.unmount()
        image.replace(self.image)
        self.mount()

    def repair(self) -> None:
        """What the operator does when the programs have ended: check it, and mount it anew."""
        self.unmount()
        checked = subprocess.run(["e2fsck", "-p", self.image], capture_output=True, text=True, check=False)
        assert checked.returncode <= 1, checked.stdout
        self.mount()

    def break_down(self) -> None:
        """It meets an error and is read-only from now on, until it is mounted anew."""
        done = subprocess.run(
            ["findmnt", "--noheadings", "--output", "SOURCE", self.at], capture_output=True, text=True, check=True
        )
        Path("/sys/fs/ext4", Path(done.stdout.strip()).name, "trigger_fs_error").write_text("1", encoding="ascii")


@contextmanager
def small_disk(at: Path, kib: int) -> Iterator[Path]:
    """A file system in memory, mounted at `at`."""
    _need("mount")
    at.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kib}k", "none", at)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all space that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler


def _need(program: str) -> None:
    if os.geteuid() != 0 or shutil.which(program) is None:
        pytest.skip(f"a disk of its own needs root and {program}")


def _mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine cannot mount a disk of the test's own: {done.stderr.strip()}")
