"""The fleet and its judgement with a tape that can run along: all that is put into them is written on it, in order.

Without a tape each call costs one question more.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.arrays import ARRAYS
from fallow_collector.fleet.arrival import Arrival
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.registry import Identity, Node
from fallow_collector.fleet.roster import GroupKey
from fallow_collector.idle.engine import Engine
from fallow_collector.replay import frames
from fallow_collector.replay.frames import Frame
from fallow_proto.v1 import telemetry_pb2 as pb


class Tape(Protocol):
    def write(self, frame: Frame) -> None: ...

    def write_reports(self, arrivals: Sequence[Arrival]) -> None: ...


class TapedEngine(Engine):
    tape: Tape | None = None

    def restart(self, rows: NDArray[np.integer], short: bool = False) -> None:
        if self.tape is not None:
            self.tape.write(frames.Restarted(rows.astype(np.int64).tobytes(), short))
        super().restart(rows, short)

    def accept(self, row: int, power_watts: float, memory_bytes: float) -> None:
        if self.tape is not None:
            self.tape.write(frames.Accepted(row, power_watts, memory_bytes))
        super().accept(row, power_watts, memory_bytes)

    def columns(self, count: int) -> dict[str, NDArray[np.generic]]:
        """Copies of what is remembered of the first rows."""
        return {"state": self.state[:count].copy(), "histogram": self._histogram[:count].copy()}

    def load(self, columns: Mapping[str, NDArray[np.generic]]) -> None:
        """Of a fleet that was loaded."""
        count = len(columns["state"])
        self.state[:count] = columns["state"]
        self._histogram[:count] = columns["histogram"]


class TapedFleet(Fleet):
    tape: Tape | None = None

    def hello(self, hello: pb.Hello, receipt: float, wall: float) -> None:
        tape, self.tape = self.tape, None  # what follows from it, such as a device that is retired, will follow again
        if tape is not None:
            tape.write(frames.Hello(hello.SerializeToString(), receipt, wall))
        try:
            super().hello(hello, receipt, wall)
        finally:
            self.tape = tape

    def gone(self, node: str, receipt: float) -> None:
        if self.tape is not None:
            self.tape.write(frames.Gone(node, receipt))
        super().gone(node, receipt)

    def node_number(self, name: str) -> int:
        if self.tape is not None and name not in self._node_number:
            self.tape.write(frames.Named(name))
        return super().node_number(name)

    def row_of(self, node: int, uuid: str) -> int | None:
        if self.tape is not None and uuid not in self._row:
            self.tape.write(frames.Added(node, uuid))
        return super().row_of(node, uuid)

    def apply(self, arrivals: Sequence[Arrival]) -> None:
        if self.tape is not None:
            self.tape.write_reports(arrivals)
        super().apply(arrivals)

    def declare(self, uuid: str, node: str, site: str, vendor: str, model: str, device_class: str) -> bool:
        if self.tape is not None:
            self.tape.write(frames.Declared(uuid, node, site, vendor, model, device_class))
        return super().declare(uuid, node, site, vendor, model, device_class)

    def retire(self, row: int) -> None:
        if self.tape is not None:
            self.tape.write(frames.Retired(row))
        super().retire(row)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Copies of all arrays."""
        return {name: getattr(self, name)[: self.count].copy() for name, *_ in ARRAYS}

    def load(
        self, nodes: Iterable[Node], groups: Iterable[GroupKey], ledgers: Iterable[str],
        declared_class: Mapping[int, str], identities: Iterable[Identity],
        columns: Mapping[str, NDArray[np.generic]],
    ) -> None:
        """Become the fleet that was recorded; this one is empty."""
        self.nodes, self.groups, self.ledgers = list(nodes), list(groups), list(ledgers)
        self._node_number = {node.name: node.number for node in self.nodes}
        self._claimants = {node.number for node in self.nodes if node.claims}
        self._group = {group: number for number, group in enumerate(self.groups)}
        self.unusable_readers = sum(node.unusable_readers for node in self.nodes)
        self.declared_class = dict(declared_class)
        self.identities = list(identities)
        self._allocate(max(64, self.count))
        for name, column in columns.items():
            getattr(self, name)[: self.count] = column
        self._row = {each.uuid: row for row, each in enumerate(self.identities) if self.alive[row]}
        for row in range(self.count):
            self._identify(row)
