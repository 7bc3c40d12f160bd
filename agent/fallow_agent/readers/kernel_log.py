"""Reads the kernel's log from where an earlier run of the agent left it, else from as far back as it goes.

A driver tells some faults nowhere else, and those from before the agent was started only here. Reading costs one
system call when nothing was said, never blocks, and needs CAP_SYSLOG or kernel.dmesg_restrict=0.
"""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from fallow_agent.readers.kernel_record import parsed

MOST_AT_ONCE = 2_000
"""Records a call; what is more waits for the next. About 5 ms."""
_RECORD_BYTES = 8_192  # the kernel refuses to read a record into less than it takes; none takes more


class Line(NamedTuple):
    at: float  # boot-time seconds
    text: str


class Position:
    """How far the log of this boot was read: a file that need not outlive the machine's run."""

    def __init__(self, path: Path, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self.seq = self._kept()

    def keep(self, seq: int) -> None:
        if seq == self.seq:
            return
        self.seq = seq
        new = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # then a later run says once more what this one said
            new.write_text(f"{self._boot_id} {seq}\n", encoding="utf-8")
            new.replace(self._path)

    def _kept(self) -> int:
        """The last record that was told; -1 when none of this boot was."""
        try:
            boot_id, seq = self._path.read_text(encoding="utf-8").split()
            return int(seq) if boot_id == self._boot_id else -1
        except (OSError, ValueError):
            return -1


class KernelLog:
    """`problem` says why it is not read, empty when it is."""

    def __init__(self, path: str, position: Position) -> None:
        """path: empty when it is not to be read."""
        self._position = position
        self._reached = position.seq
        self._caught_up = False
        self._log: int | None = None
        self.problem = "" if path else "configuration says so ([readers] kernel_log)"
        if path:
            try:
                self._log = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                self.problem = f"{path} cannot be opened: {error.strerror}"

    def read(self, now: float) -> list[Line]:
        """What was said since the last call, which the caller has made safe by now; `now` in boot-time seconds."""
        self._position.keep(self._reached)
        lines = []
        for _ in range(MOST_AT_ONCE):
            record = self._next()
            if record is None:
                self._caught_up = True
                break
            found = parsed(record)
            if found is None or found.seq <= self._reached:
                continue
            self._reached = found.seq
            # The kernel's stamp is good enough for what was said before; what is new was said just now.
            lines.append(Line(now if self._caught_up else min(found.stamp, now), found.text))
        return lines

    def close(self) -> None:
        """What was read has been made safe."""
        self._position.keep(self._reached)
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def _next(self) -> bytes | None:
        """The next record, empty where some were overwritten before they could be read; None: no more now."""
        if self._log is None:
            return None
        try:
            return os.read(self._log, _RECORD_BYTES) or None
        except BlockingIOError:
            return None
        except BrokenPipeError:
            return b""
        except OSError as error:
            self.problem = f"reading it failed: {error.strerror}"
            os.close(self._log)
            self._log = None
            return None
