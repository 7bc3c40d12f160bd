"""The rows of one table at one moment, as rules look at them."""

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet

import pyarrow as pa
import pyarrow.compute as pc

from fallow_collector.alerts.facts import Facts
from fallow_collector.alerts.fingerprints import fingerprints
from fallow_collector.alerts.rule import Rule
from fallow_collector.alerts.schema import TABLES
from fallow_collector.alerts.shown import lasting, shown


class ColumnError(Exception):
    """A column could not be made."""


class Rows:
    """Columns are made when they are first asked for, once."""

    def __init__(self, facts: Facts, over: str) -> None:
        self.length = facts.length
        self._facts = facts
        self._table = TABLES[over]
        self._made: dict[str, pa.Array] = {}

    def column(self, name: str) -> pa.Array:
        """Without NaN or infinities, which are null: DuckDB holds both for greater than every number. Raises
        ColumnError."""
        if name not in self._made:
            try:
                found = self._facts.column(name)
            except Exception as error:  # what one column's maker meets must not silence other rules
                raise ColumnError(f"column {name} could not be made: {type(error).__name__}: {error}") from error
            if len(found) != self.length:
                raise ColumnError(f"column {name} has {len(found):,} rows, expected {self.length:,}")
            self._made[name] = _finite(found) if pa.types.is_floating(found.type) else found
        return self._made[name]

    def columns(self, names: Collection[str]) -> pa.Table:
        return pa.table({name: self.column(name) for name in sorted(names)})

    def labels(self, rule: Rule, indices: pa.Array) -> dict[str, str | list[str]]:
        """Of alerts of this rule, by name: one text for all of these rows, or one a row, empty where there is none."""
        row: dict[str, str | list[str]] = {
            name: [str(value or "") for value in self._take(name, indices)] for name in self._table.labels
        }
        return {**row, **rule.labels, "alertname": rule.name, "severity": str(rule.severity)}

    def fingerprints(self, rule: Rule, indices: pa.Array) -> list[str]:
        return fingerprints(len(indices), self.labels(rule, indices))

    def texts(self, names: AbstractSet[str], indices: pa.Array) -> Mapping[str, Sequence[str]]:
        """Columns as people read them."""
        found = {}
        for name in names & self._table.columns.keys():
            say = lasting if self._table.columns[name].lasts else shown
            found[name] = [say(value) for value in self._take(name, indices)]
        return found

    def _take(self, name: str, indices: pa.Array) -> list[str | float | bool | None]:
        values: list[str | float | bool | None] = self.column(name).take(indices).to_pylist()
        return values


def _finite(column: pa.Array) -> pa.Array:
    good = pc.is_finite(column)
    return column if pc.all(good).as_py() is not False else pc.if_else(good, column, None)
