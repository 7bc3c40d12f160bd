"""What happened to every device and node, and the incidents that follow. Bounded: a day, and History's bound."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from fallow_collector.health.fold import Subject, fold
from fallow_collector.health.happening import happening
from fallow_collector.health.history import Cure, History
from fallow_collector.health.incident import Incident
from fallow_collector.health.rules import Folding
from fallow_collector.state import EventRow
from fallow_proto.states import EventKind

DAY_MS = 86_400_000
SWEEP_MS = 600_000

_CURE_OF_DEVICE = {EventKind.DEVICE_APPEARED: "appeared"}
_CURE_OF_NODE = {
    EventKind.NODE_REBOOTED: "rebooted", EventKind.DRIVER_LOADED: "reloaded", EventKind.READER_RECOVERED: "recovered",
    EventKind.PORT_UP: "up",
}


class Key(NamedTuple):
    node: str
    device: str  # uuid; empty: the node as a whole


class Ward:
    """model_of: a device's model by its uuid, empty where it is not known."""

    def __init__(self, rules: Folding, model_of: Callable[[str], str]) -> None:
        self._rules = rules
        self._model_of = model_of
        self._histories: dict[Key, History] = {}
        self._cures: defaultdict[str, list[Cure]] = defaultdict(list)  # of nodes
        self._of_node: defaultdict[str, set[Key]] = defaultdict(set)
        self._incidents: dict[Key, list[Incident]] = {}
        self._due_ms: dict[Key, int] = {}
        self._swept_ms = 0

    def __len__(self) -> int:
        """Happenings that are remembered."""
        return sum(map(len, self._histories.values()))

    def take(self, rows: Iterable[EventRow]) -> None:
        """Events, in whatever order; one that is known already only grows."""
        for row in rows:
            if row.kind in _CURE_OF_NODE and not row.device:
                self._cure_node(row)
            elif row.kind in _CURE_OF_DEVICE and row.device:
                self.cure(Key(row.node, row.device), Cure(_CURE_OF_DEVICE[EventKind(row.kind)], row.last_ms, ""))
            else:
                found = happening(row, self._model_of(row.device) if row.device else "")
                if found is not None:
                    self._history(Key(row.node, row.device)).add(found)

    def cure(self, key: Key, cure: Cure) -> None:
        """Something ended what was wrong with a device before it."""
        self._history(key).cure(cure)

    def tick(self, now_ms: int) -> None:
        """Look again at those to whom something happened, or whose time has come."""
        if now_ms - self._swept_ms >= SWEEP_MS:
            self._swept_ms = now_ms
            self._sweep(now_ms)
        for key in [key for key, due_ms in self._due_ms.items() if due_ms <= now_ms]:
            self._fold(key, now_ms)

    def shift(self, by_ms: int) -> None:
        """The wall clock was set by so much: what happened is as long ago as before."""
        for node, cures in self._cures.items():
            self._cures[node] = [cure._replace(at_ms=cure.at_ms + by_ms) for cure in cures]
        for key, history in self._histories.items():
            history.shift(by_ms)
            self._due_ms[key] = 0
        self._swept_ms = 0

    def due(self, now_ms: int) -> bool:
        """Whether something happened since the last tick, or somebody's time has come."""
        return any(due_ms <= now_ms for due_ms in self._due_ms.values())

    def incidents(self, key: Key) -> list[Incident]:
        """Of the last day, oldest first."""
        return self._incidents.get(key, [])

    def open(self) -> Iterator[tuple[Key, Incident]]:
        for key, incidents in self._incidents.items():
            for one in incidents:
                if one.open:
                    yield key, one

    def _history(self, key: Key) -> History:
        history = self._histories.get(key)
        if history is None:
            history = self._histories[key] = History(self._rules.burst_ms)
            self._of_node[key.node].add(key)
        self._due_ms[key] = 0
        return history

    def _cure_node(self, row: EventRow) -> None:
        kind = _CURE_OF_NODE[EventKind(row.kind)]
        cure = Cure(
            kind, row.last_ms, row.source if kind == "rebooted" else "", row.code if kind == "up" else None
        )
        if cure not in self._cures[row.node]:
            self._cures[row.node].append(cure)
            for key in self._of_node[row.node]:
                self._due_ms[key] = 0

    def _fold(self, key: Key, now_ms: int) -> None:
        history = self._histories[key]
        history.forget(now_ms - DAY_MS)
        subject = Subject(key.node, key.device, self._model_of(key.device) if key.device else "")
        found = fold(subject, history, [*history.cures, *self._cures[key.node]], self._rules, now_ms)
        self._incidents[key] = found
        waits = [one.last_ms + self._rules.quiet_ms(one.severity) for one in found if one.open]
        if waits:
            self._due_ms[key] = min(waits)
        else:
            self._due_ms.pop(key, None)

    def _sweep(self, now_ms: int) -> None:
        """Forget what is over and a day old."""
        for node, cures in list(self._cures.items()):
            self._cures[node] = [cure for cure in cures if cure.at_ms >= now_ms - DAY_MS]
            if not self._cures[node]:
                del self._cures[node]
        for key, history in list(self._histories.items()):
            before = len(history)
            history.forget(now_ms - DAY_MS)
            if not len(history) and not history.cures:
                del self._histories[key]
                self._incidents.pop(key, None)
                self._due_ms.pop(key, None)
                self._of_node[key.node].discard(key)
                if not self._of_node[key.node]:
                    del self._of_node[key.node]
            elif len(history) != before:
                self._due_ms[key] = 0
