"""All cordons that stand, and what they make of each device: the worst word of anybody counts."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.cordons.entry import Clocks, Entry
from fallow_collector.fleet.roster import NOBODY, Roster


class _Columns(NamedTuple):
    """Of k entries. node, row: int32[k], a node's number or a device's row, NOBODY where it is none, or not known."""

    from_s: NDArray[np.float64]
    until_s: NDArray[np.float64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    code: NDArray[np.uint8]
    node: NDArray[np.int32]
    row: NDArray[np.int32]

    def active(self, at: Clocks) -> NDArray[np.bool_]:
        by_monotonic = (self.from_s <= at.now) & (at.now < self.until_s)
        by_wall = (self.start <= at.wall) & (at.wall < self.end)
        return by_monotonic | by_wall


class Board:
    """The entries by their ids, oldest first. Devices and nodes that the roster does not know yet are found later."""

    def __init__(self, roster: Roster, entries: Iterable[Entry] = ()) -> None:
        self._roster = roster
        self._entries: dict[str, Entry] = {}
        self._columns: _Columns | None = None
        self._resolved = (-1, -1)  # rows_revision and nodes of the roster that the columns speak of
        self.put(entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def find(self, cordon_id: str) -> Entry | None:
        return self._entries.get(cordon_id)

    def put(self, entries: Iterable[Entry]) -> None:
        self._entries.update((entry.cordon_id, entry) for entry in entries)
        self._columns = None

    def lift(self, cordon_id: str) -> None:
        del self._entries[cordon_id]
        self._columns = None

    def clear_over(self, at: Clocks) -> None:
        """Forget what is over."""
        columns = self._of_roster()
        if not ((at.now >= columns.until_s) & (at.wall >= columns.end)).any():
            return
        self._entries = {name: entry for name, entry in self._entries.items() if not entry.over(*at)}
        self._columns = None

    def service(self, at: Clocks) -> NDArray[np.uint8]:
        """uint8[count], positions in phase.SERVICES of every device of the roster."""
        columns = self._of_roster()
        return self._spread(columns, columns.active(at))

    def reach(self) -> NDArray[np.bool_]:
        """bool[count], the devices that an entry concerns, now or in a window to come."""
        columns = self._of_roster()
        reached: NDArray[np.bool_] = self._spread(columns, np.ones(len(columns.code), dtype=np.bool_)) != 0
        return reached

    def on_device(self, row: int) -> list[Entry]:
        """What stands on a device: its own entries, its node's and, of a partition, its parent's."""
        roster = self._roster
        rows = [row] if roster.parent[row] == NOBODY else [row, int(roster.parent[row])]
        uuids = {roster.identities[each].uuid for each in rows}
        node = roster.nodes[roster.owner[row]].name
        return [entry for entry in self.entries if (entry.device in uuids if entry.device else entry.node == node)]

    def _spread(self, columns: _Columns, these: NDArray[np.bool_]) -> NDArray[np.uint8]:
        roster, count = self._roster, self._roster.count
        by_node = np.zeros(len(roster.nodes) + 1, dtype=np.uint8)  # the last: of devices whose node is not known
        on_nodes, on_devices = these & (columns.node != NOBODY), these & (columns.row != NOBODY)
        np.maximum.at(by_node, columns.node[on_nodes], columns.code[on_nodes])
        service = by_node[roster.owner[:count]]
        np.maximum.at(service, columns.row[on_devices], columns.code[on_devices])
        partitions = np.flatnonzero(roster.parent[:count] != NOBODY)
        service[partitions] = np.maximum(service[partitions], service[roster.parent[partitions]])
        return service

    def _of_roster(self) -> _Columns:
        roster = self._roster
        known = (roster.rows_revision, len(roster.nodes))
        if self._columns is None or self._resolved != known:
            self._columns, self._resolved = _columns(roster, self.entries), known
        return self._columns


def _columns(roster: Roster, entries: list[Entry]) -> _Columns:
    nodes = [None if entry.device else roster.node(entry.node) for entry in entries]
    rows = [roster.find(entry.device) if entry.device else None for entry in entries]
    return _Columns(
        from_s=np.array([entry.from_s for entry in entries], dtype=np.float64),
        until_s=np.array([entry.until_s for entry in entries], dtype=np.float64),
        start=np.array([entry.start for entry in entries], dtype=np.float64),
        end=np.array([entry.end for entry in entries], dtype=np.float64),
        code=np.array([entry.code for entry in entries], dtype=np.uint8),
        node=np.array([NOBODY if node is None else node.number for node in nodes], dtype=np.int32),
        row=np.array([NOBODY if row is None else row for row in rows], dtype=np.int32),
    )
