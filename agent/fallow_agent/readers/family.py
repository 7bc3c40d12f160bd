"""Which processes are the agent's own, so that a host's reader can leave their CPU time out.

The zygote writes and its children read: one page of shared memory, because a child is forked before its younger
siblings are, and the kernel's list of children (/proc/PID/task/PID/children) is not compiled into every kernel.
"""

import mmap
from collections.abc import Iterable
from itertools import takewhile
from struct import Struct

_PID = Struct("<i")
_page = mmap.mmap(-1, mmap.PAGESIZE)


def publish(pids: Iterable[int]) -> None:
    """Say who is family now; what does not fit on the page is left out and counts as a stranger's work."""
    packed = b"".join(_PID.pack(pid) for pid in pids)
    _page[:] = packed[: mmap.PAGESIZE].ljust(mmap.PAGESIZE, b"\0")


def pids() -> list[int]:
    """The agent, its zygote and all readers' processes; empty in a process that no zygote forked."""
    return [pid for (pid,) in takewhile(any, _PID.iter_unpack(_page[:]))]
