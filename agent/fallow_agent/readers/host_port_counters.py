"""What InfiniBand and RoCE ports count, all of a host's together.

Source: /sys/class/infiniband/*/ports/*/counters (Documentation/ABI/stable/sysfs-class-infiniband). Where the adapter
cannot be asked the kernel prints "N/A (no PMA)" in the place of a number (drivers/infiniband/core/sysfs.c).
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from fallow_agent.readers.host_ports import folders

WORD_BYTES = 4
"""port_rcv_data and port_xmit_data count octets divided by four."""


class _Sum(NamedTuple):
    files: tuple[str, ...]
    unit: int = 1


_SUMS: Mapping[str, _Sum] = MappingProxyType({
    "rdma_port_errors_total": _Sum((
        "symbol_error", "port_rcv_errors", "local_link_integrity_errors", "excessive_buffer_overrun_errors",
    )),
    "rdma_link_downs_total": _Sum(("link_downed",)),
    "rdma_receive_bytes_total": _Sum(("port_rcv_data",), WORD_BYTES),
    "rdma_transmit_bytes_total": _Sum(("port_xmit_data",), WORD_BYTES),
})
_FILES = tuple(name for each in _SUMS.values() for name in each.files)
_FULL = (2**32 - 1, 2**64 - 1)
"""Counters of the standard's width stop here, and drivers print all ones for what they do not know; the narrower ones
of errors (4, 8 and 16 bits) stop as well, but until they are cleared they say the truth: so many at least."""

Counts = Mapping[tuple[str, str], int | None]
"""By port and file; None: it is there and cannot be read."""


def found(sys: Path) -> Counts:
    """The counters that the ports have now. May hang with the adapter."""
    counts = {}
    for name, folder in folders(sys).items():
        for file in _FILES:
            try:
                counts[name, file] = _number((folder / "counters" / file).read_bytes())
            except FileNotFoundError:  # the driver does not count this
                continue
            except OSError:
                counts[name, file] = None
    return counts


class PortCounters:
    """Adds up so that no sum falls: a port that went keeps its share, one that was reset begins from nothing."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], int] = {}
        self._total: dict[tuple[str, str], int] = {}

    def take(self, counts: Counts) -> dict[str, float]:
        """Metrics that are known: those that every port which has them tells."""
        for key, count in counts.items():
            if count is not None:
                before = self._before.get(key, 0)
                self._total[key] = self._total.get(key, 0) + (count - before if count >= before else count)
                self._before[key] = count
        unread = {file for (_, file), count in counts.items() if count is None}
        counted = {file for _, file in self._total} - unread
        return {
            metric: float(each.unit * sum(count for (_, file), count in self._total.items() if file in each.files))
            for metric, each in _SUMS.items() if counted.issuperset(each.files)
        }


def _number(text: bytes) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return None if number in _FULL else number
