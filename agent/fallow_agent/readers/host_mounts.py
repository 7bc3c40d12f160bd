"""What is mounted: pure parsing of /proc/self/mountinfo (proc(5)), which asks no server and no disk.

The options at the end of a line are those of the file system itself. The ones before, of the mount, are only this
process's own: a sandboxed unit sees everything read-only there.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "overlay", "tmpfs"})
"""What keeps its numbers in memory, so that statvfs() never waits; a file system that is not here is not asked."""
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "gpfs", "beegfs"})
_NO_WRITING = frozenset({"ro", "emergency_ro", "shutdown"})
"""Since Linux 6.12 an ext4 that gave up after an error stays "rw", and since 6.15 it says how it is with the others."""
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    device: str  # major:minor, the same for all mounts of one file system
    path: bytes
    kind: str
    source: str
    options: frozenset[str]

    @property
    def local(self) -> bool:
        return self.kind in _LOCAL

    @property
    def read_only(self) -> bool:
        return not self.options.isdisjoint(_NO_WRITING)


def parsed(mountinfo: bytes) -> list[Mount]:
    """In the order they were mounted; a line in another form is left out."""
    mounts = []
    for line in mountinfo.splitlines():
        head, separator, tail = line.partition(b" - ")
        place, file_system = head.split(), tail.split()
        if separator and len(place) >= 6 and len(file_system) >= 3:
            kind, source, options = (field.decode(errors="replace") for field in file_system[:3])
            mounts.append(Mount(place[2].decode(), _plain(place[4]), kind, source, frozenset(options.split(","))))
    return mounts


def holding(path: bytes, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that a folder stands on: the last one of the longest path."""
    above = [mount for mount in mounts if mount.path in (path, b"/") or path.startswith(mount.path + b"/")]
    return max(enumerate(above), key=lambda each: (len(each[1].path), each[0]), default=(0, None))[1]


def remote(mounts: Iterable[Mount]) -> list[Mount]:
    """One mount of each file system that other machines serve."""
    return list({mount.device: mount for mount in mounts if mount.kind in _REMOTE}.values())


def _plain(path: bytes) -> bytes:
    r"""Blanks and backslashes stand as \040 and the like."""
    return _ESCAPED.sub(lambda match: bytes((int(match[1], 8),)), path)
