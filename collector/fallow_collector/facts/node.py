"""The table `node`: every node that is connected or owns a device."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.alerts.facts import Facts
from fallow_collector.certificate import Validity
from fallow_collector.facts.columns import Column, facts, numbers, optional, texts, truths
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.registry import Node
from fallow_collector.idle import phase
from fallow_collector.view import Snapshot
from fallow_proto.states import Service

_MAINTENANCE = phase.SERVICES.index(Service.MAINTENANCE)


class Beside(NamedTuple):
    """What others know of nodes, by name. unacknowledged: when the oldest report came that is not in the store,
    monotonic seconds; a node that is missing has none. version: of this collector."""

    unacknowledged: Mapping[str, float]
    certificates: Mapping[str, Validity]
    version: str


class Drops(NamedTuple):
    """What a node's agent had to drop since it started, and when that was seen to grow, monotonic seconds."""

    reports: int
    at: float


class Nodes:
    """Keeps what only changes when devices come or go, and when spools dropped last. Not thread-safe."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._known_at = -1
        self._owns = np.zeros(0, dtype=np.bool_)
        self._spoken_of = np.zeros(0, dtype=np.bool_)
        self._drops: dict[str, Drops] = {}

    def there(self) -> list[Node]:
        self._know()
        return [
            node for node in self._fleet.nodes
            if node.name and (node.connected or (node.number < len(self._owns) and self._owns[node.number]))
        ]

    def take(
        self, there: Sequence[Node], snapshot: Snapshot, beside: Beside, wanted: Collection[str]
    ) -> Facts:
        return facts(len(there), {name: self._column(name, there, snapshot, beside) for name in wanted})

    def _column(self, name: str, there: Sequence[Node], snapshot: Snapshot, beside: Beside) -> Column:
        match name:
            case "node":
                return texts([node.name for node in there])
            case "site":
                return texts([node.site for node in there])
            case "agent_version":
                return texts([node.agent_version or None for node in there])
            case "seen":
                return truths(np.array([bool(node.epoch) or self._spoken_of[node.number] for node in there], np.bool_))
            case "connected":
                return truths(np.array([node.connected for node in there], np.bool_))
            case "version_differs":
                versions = [node.agent_version for node in there]
                return truths(
                    np.array([version != beside.version for version in versions], np.bool_),
                    np.array([bool(version) for version in versions], np.bool_),
                )
            case "age_s":
                return numbers(self._age_s(snapshot)[_numbers(there)])
            case "clock_skew_s":
                return numbers(clock_skew_s(there, snapshot))
            case "spool_pending":
                return numbers(optional([node.spool_pending for node in there]))
            case "spool_dropped":
                return numbers(optional([node.spool_dropped for node in there]))
            case "spool_dropped_age_s":
                return numbers(self._drops_age_s(there, snapshot.now))
            case "maintenance":
                return truths(self._in_maintenance(snapshot)[_numbers(there)])
            case "unacknowledged_s":
                since = [beside.unacknowledged.get(node.name, snapshot.now) for node in there]
                return numbers(snapshot.now - np.array(since))
            case "devices":
                return numbers(self._devices()[_numbers(there)])
            case "certificate_remaining_ratio" | "certificate_expires_in_s":
                return numbers(_of_certificates(name, there, beside.certificates, snapshot.as_of))
        raise KeyError(f"BUG: table node has no maker of column {name!r}")

    def _age_s(self, snapshot: Snapshot) -> NDArray[np.float64]:
        """By number of node: of its newest reading; inf: none."""
        age_s = np.full(len(self._fleet.nodes), np.inf)
        rows = np.flatnonzero(snapshot.shown["alive"] & (snapshot.shown["owner"] >= 0))
        np.minimum.at(age_s, snapshot.shown["owner"][rows], snapshot.age_s[rows])
        return age_s

    def _drops_age_s(self, there: Sequence[Node], now: float) -> NDArray[np.float64]:
        """NaN where nothing was dropped. What is heard of first may have happened at any time: it counts as now."""
        before, self._drops = self._drops, {}
        for node in there:
            if node.spool_dropped:
                last = before.get(node.name)
                if last is None or last.reports != node.spool_dropped:
                    last = Drops(node.spool_dropped, now)
                self._drops[node.name] = last
        return optional([now - self._drops[node.name].at if node.name in self._drops else None for node in there])

    def _in_maintenance(self, snapshot: Snapshot) -> NDArray[np.bool_]:
        """By number of node: whether all devices that it has are."""
        owner = snapshot.shown["owner"]
        rows = np.flatnonzero(snapshot.shown["alive"] & (owner >= 0))
        resting = snapshot.shown["service"][rows] == _MAINTENANCE
        of = np.bincount(owner[rows], minlength=len(self._fleet.nodes))
        at_rest = np.bincount(owner[rows][resting], minlength=len(self._fleet.nodes))
        whole: NDArray[np.bool_] = (of > 0) & (at_rest == of)
        return whole

    def _devices(self) -> NDArray[np.int64]:
        """By number of node: devices of its last Hello."""
        fleet = self._fleet
        here = fleet.present[: fleet.count] & fleet.alive[: fleet.count]
        return np.bincount(fleet.owner[: fleet.count][here], minlength=len(fleet.nodes))

    def _know(self) -> None:
        fleet, count = self._fleet, self._fleet.count
        if self._known_at == fleet.who_revision and len(self._spoken_of) == len(fleet.nodes):
            return
        self._known_at = fleet.who_revision
        # Only what an agent said has a number within its node; a declaration has none.
        spoken = np.array([identity.index is not None for identity in fleet.identities], dtype=np.bool_)
        owner, alive = fleet.owner[:count], fleet.alive[:count] & (fleet.owner[:count] >= 0)
        self._owns = np.bincount(owner[alive], minlength=len(fleet.nodes)) > 0
        self._spoken_of = np.bincount(owner[alive & spoken], minlength=len(fleet.nodes)) > 0


def clock_skew_s(there: Sequence[Node], snapshot: Snapshot) -> NDArray[np.float64]:
    """The nodes' clocks against ours, the quickest transit included; NaN where nothing came yet, or comes now."""
    offsets = optional([node.offset if node.connected else None for node in there])
    return snapshot.now - offsets - snapshot.as_of


def _numbers(there: Sequence[Node]) -> NDArray[np.intp]:
    return np.array([node.number for node in there], dtype=np.intp)


def _of_certificates(
    name: str, there: Sequence[Node], certificates: Mapping[str, Validity], wall: float
) -> NDArray[np.float64]:
    if not certificates:
        return np.full(len(there), np.nan)
    shown = [certificates.get(node.name) for node in there]
    if name == "certificate_expires_in_s":
        return optional([None if one is None else one.remaining_s(wall) for one in shown])
    return optional([None if one is None else one.remaining_ratio(wall) for one in shown])
