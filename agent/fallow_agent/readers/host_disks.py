"""Whether / and /var can be written, and how much fits on them still."""

import os
from collections.abc import Sequence

from fallow_agent.happening import Happening
from fallow_agent.readers.host_mounts import Mount, holding
from fallow_proto.states import EventKind

_PLACES = {"root": b"/", "var": b"/var"}


class Disks:
    """Remembers what could be written, so that it is news when it cannot any more."""

    def __init__(self) -> None:
        self._writable: set[str] = set()

    def take(self, mounts: Sequence[Mount]) -> tuple[dict[str, float], list[Happening]]:
        """Metrics, and file systems that turned read-only since the last call, each once."""
        values: dict[str, float] = {}
        turned: dict[str, Mount] = {}
        for name, path in _PLACES.items():
            mount = holding(path, mounts)
            if mount is None or not mount.local:
                continue
            values[f"{name}_read_only"] = float(mount.read_only)
            free = _free_ratio(path)
            if free is not None:
                values[f"{name}_free_ratio"] = free
            if not mount.read_only:
                self._writable.add(mount.device)
            elif mount.device in self._writable:
                turned[mount.device] = mount
        self._writable -= turned.keys()
        return values, [_told(mount) for mount in turned.values()]


def _told(mount: Mount) -> Happening:
    path = os.fsdecode(mount.path)
    return Happening(
        EventKind.FILESYSTEM_READ_ONLY, "",
        f"{path} ({mount.kind} on {mount.source}) became read-only; the kernel's log says why (dmesg)", source="proc",
    )


def _free_ratio(path: bytes) -> float | None:
    """As df has it: of what users other than root can ever have."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    usable = found.f_blocks - found.f_bfree + found.f_bavail
    return found.f_bavail / usable if usable > 0 else None
