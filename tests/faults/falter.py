"""System calls that fail or are late, chosen under a running program: the plan that falter.c reads."""

import mmap
import struct
import subprocess
from enum import IntFlag
from pathlib import Path

_SOURCE = Path(__file__).with_name("falter.c")
_PLAN = struct.Struct("=Iiiiii488s")
_LEFT = struct.Struct("=8xi")
_FAILED = struct.Struct("=20xi")


class Call(IntFlag):
    FSYNC = 1
    FDATASYNC = 2
    WRITE = 4
    PWRITE = 8
    READ = 16
    OPEN = 32
    FTRUNCATE = 64
    RENAME = 128
    UNLINK = 256


def build(folder: Path) -> Path:
    """Compile the library. Raises CalledProcessError."""
    library = folder / "falter.so"
    subprocess.run(
        ["cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-o", library, _SOURCE],
        check=True,
    )
    return library


def environment(library: Path, plan: Path) -> dict[str, str]:
    """Under which a program's calls falter as the plan says."""
    return {"LD_PRELOAD": str(library), "FALTER_PLAN": str(plan)}


class Falter:
    """A plan: a file that is there before the programs start. Until `plan` nothing falters."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(bytes(_PLAN.size))
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), _PLAN.size)
        self._number = 0

    def plan(
        self, calls: Call, under: Path, error: int = 0, number: int = 1, lasting: bool = False, delay_s: float = 0
    ) -> None:
        """From now on each of these calls on a file whose path begins so is late by `delay_s`, and the number-th of
        them fails with this errno; lasting: so do all that follow it."""
        self.end()
        self._number = number
        rest = _PLAN.pack(0, error, number, lasting, round(delay_s * 1000), 0, str(under).encode())
        self._shared[4:] = rest[4:]
        self._shared[:4] = calls.to_bytes(4, "little")

    def end(self) -> None:
        """Nothing falters any more."""
        self._shared[:4] = bytes(4)

    @property
    def come(self) -> int:
        """How many calls have come under the newest plan, failed or late or not."""
        (left,) = _LEFT.unpack_from(self._shared)
        return self._number - int(left)

    @property
    def failed(self) -> int:
        """How many calls have failed under the newest plan."""
        (failed,) = _FAILED.unpack_from(self._shared)
        return int(failed)
