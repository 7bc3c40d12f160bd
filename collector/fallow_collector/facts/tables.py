"""All tables at a moment, in one go."""

import logging
from collections.abc import Callable, Iterator, Mapping, Set
from typing import NamedTuple

import numpy as np

from fallow_collector.alerts.facts import Facts, Tables
from fallow_collector.answers.completeness import incomplete
from fallow_collector.answers.figures import Figures, figures
from fallow_collector.facts.collector import Itself, collector
from fallow_collector.facts.device import Devices
from fallow_collector.facts.group import Groups
from fallow_collector.facts.incident import incidents
from fallow_collector.facts.ledger import ledgers
from fallow_collector.facts.node import Beside, Nodes
from fallow_collector.facts.reader import readers
from fallow_collector.facts.since import PhaseClock
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.health.board import Board
from fallow_collector.idle.engine import Engine
from fallow_collector.ledgers.imports import Imports
from fallow_collector.view import Snapshot, View

LOGGED = 10  # failures; the others are counted

log = logging.getLogger(__name__)

Wanted = Mapping[str, Set[str]]
"""Columns by table."""


class Sources(NamedTuple):
    """Where the facts come from. beside: at a moment, monotonic seconds. itself: what the collector says of itself,
    given whether its view is complete and the age of the oldest report that the store does not have. site: its own."""

    fleet: Fleet
    engine: Engine
    view: View
    health: Board
    imports: Imports
    beside: Callable[[float], Beside]
    itself: Callable[[bool, float], Itself]
    site: str


class Taker:
    """Not thread-safe: one thread, the event loop's, takes; any may look at what was taken."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources
        self.failures = 0  # tables that could not be made
        phases = PhaseClock()
        sources.view.follow(phases.follow)
        self._devices = Devices(sources.fleet, sources.engine, phases)
        self._nodes = Nodes(sources.fleet)
        self._groups = Groups(sources.fleet)

    def take(self, wanted: Wanted) -> Tables:
        """All that is wanted at once."""
        return dict(self.each(wanted))

    def each(self, wanted: Wanted) -> Iterator[tuple[str, Facts]]:
        """Name and facts of one table after the other, with the columns that are wanted. The loop may do something else
        between two of them: each is whole in itself. Take all regularly: `group` remembers minutes."""
        fleet, engine, view = self._from.fleet, self._from.engine, self._from.view
        snapshot = view.now()
        counted = np.flatnonzero(snapshot.counted)
        found = figures(fleet, engine, snapshot, counted, ())
        there = np.flatnonzero(fleet.alive[: len(snapshot.counted)])
        whole = found if len(there) == len(counted) else figures(fleet, engine, snapshot, there, ())
        beside = self._from.beside(snapshot.now)
        nodes = self._nodes.there()
        made: dict[str, Callable[[Set[str]], Facts]] = {
            "device": lambda columns: self._devices.take(snapshot, whole, columns),
            "node": lambda columns: self._nodes.take(nodes, snapshot, beside, columns),
            "reader": lambda columns: readers(nodes, snapshot, columns),
            "incident": lambda columns: incidents(
                fleet, self._from.health.in_force(), self._from.site, snapshot.as_of, columns
            ),
            "group": lambda columns: self._groups.take(found, snapshot.now, columns),
            "ledger": lambda columns: ledgers(
                fleet, self._from.site, self._from.imports.imported(snapshot.now), columns
            ),
            "collector": lambda columns: collector(self._itself(snapshot, beside, found), columns),
        }
        for table, columns in wanted.items():
            facts = self._made(table, made[table], columns)
            if facts is not None:
                yield table, facts

    def _itself(self, snapshot: Snapshot, beside: Beside, found: Figures) -> Itself:
        oldest = min(beside.unacknowledged.values(), default=snapshot.now)
        return self._from.itself(not incomplete(self._from.fleet, found.assessed.freshness), snapshot.now - oldest)

    def _made(self, table: str, make: Callable[[Set[str]], Facts], columns: Set[str]) -> Facts | None:
        """None: it could not be made, and rules over it say nothing."""
        try:
            return make(columns)
        except Exception:  # one table's fault must not silence the rules over the others
            self.failures += 1
            if self.failures <= LOGGED:
                log.exception("BUG: a table of facts could not be made table=%s", table)
            return None
