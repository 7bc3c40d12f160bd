"""The agent's own half of what the collector hears: kernel records, read and coalesced by its code in virtual time."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from fallow_agent.events import Events
from fallow_agent.happening import Happening
from fallow_agent.readers.kernel_nvidia import told
from fallow_agent.readers.kernel_record import parsed
from fallow_collector.state import EventRow
from fallow_proto.v1 import telemetry_pb2 as pb

# How people keep logs: dmesg with seconds or with the time of day, dmesg -x --time-format iso.
_PREFIX = re.compile(r"\[[^\]]*\] |kern +:\w+ *: \S+ ")


def records(path: Path) -> Iterator[bytes]:
    """A captured log as records of /dev/kmsg."""
    for seq, line in enumerate(path.read_bytes().splitlines()):
        prefix = _PREFIX.match(line.decode(errors="replace"))
        yield line if prefix is None else b"4,%d,0,-;%s\n" % (seq, line[len(prefix[0].encode()):])


class AgentSide:
    """One run of an agent on node n1, whose devices are called by their PCI addresses."""

    def __init__(self, devices: Iterable[str] = ()) -> None:
        self._devices = frozenset(devices)
        self._events = Events()
        self._seq = 0

    def reads(self, record: bytes, time_ms: int, at: float) -> None:
        """A record of the kernel's log. time_ms: unix; at: boot-time seconds."""
        found = parsed(record)
        said = None if found is None else told(found.text)
        if said is not None:
            device = said.pci_bus_id if said.pci_bus_id in self._devices else ""
            self.notes(Happening(said.kind, device, said.message, said.code, "kernel", said.times), time_ms, at)

    def notes(self, happened: Happening, time_ms: int, at: float) -> None:
        self._events.note(happened, time_ms, at)

    def sends(self, now: float) -> list[EventRow]:
        """What it has to tell now, as the collector takes it."""
        return [self._row(event) for event in self._events.due(now)]

    def _row(self, event: pb.Event) -> EventRow:
        self._seq += 1
        return EventRow(
            "n1", "e1", event.id, self._seq, event.kind, event.device, event.count, event.first_ms, event.last_ms,
            event.message, event.code if event.HasField("code") else None, event.source,
        )
