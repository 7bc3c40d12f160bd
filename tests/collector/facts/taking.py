"""Facts of a small fleet under watch, for tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from fallow_collector.alerts.facts import Tables
from fallow_collector.alerts.schema import TABLES
from fallow_collector.certificate import Validity
from fallow_collector.facts.collector import Itself
from fallow_collector.facts.node import Beside
from fallow_collector.facts.tables import Sources, Taker
from fallow_collector.ledgers.imports import Imports
from fallow_collector.view import View
from tests.collector.health.clinic import Clinic

ALL = {name: set(table.columns) for name, table in TABLES.items()}
ITSELF = Itself(
    site="centre", version="0.1.0", up_s=60.0, complete=None, store_commits=True, state_commits=True,
    unacknowledged_s=0.0, store_full_in_s=None, events_dropped=0, certificate_remaining_ratio=None,
    certificate_expires_in_s=None, receivers_failing=0, rules_failing=0, dead_letters=0,
)


class Site(Clinic):
    """A clinic of which facts are taken."""

    def __init__(self, folder: Path, size: int = 2) -> None:
        super().__init__(folder, size)
        node = self.node
        self.view = View(node.fleet, node.engine, lambda: node.now, lambda: self.wall)
        self.imports = Imports(node.fleet, 30.0, node.engine.restart)
        self.unacknowledged: dict[str, float] = {}
        self.certificates: dict[str, Validity] = {}
        self.itself = ITSELF
        self.taker = Taker(Sources(
            node.fleet, node.engine, self.view, self.board, self.imports,
            beside=lambda now: Beside(self.unacknowledged, self.certificates, "0.1.0"),
            itself=lambda complete, age_s: replace(self.itself, complete=complete, unacknowledged_s=age_s),
            site="centre",
        ))

    def take(self, wanted: dict[str, set[str]] | None = None) -> Tables:
        self.view.refresh()
        return self.taker.take(wanted or ALL)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Each row of a table, with all of its columns."""
        facts = self.take()[table]
        columns: dict[str, pa.Array] = {name: facts.column(name) for name in TABLES[table].columns}
        assert {len(column) for column in columns.values()} == {facts.length}
        lists = {name: column.to_pylist() for name, column in columns.items()}
        return [{name: values[row] for name, values in lists.items()} for row in range(facts.length)]
