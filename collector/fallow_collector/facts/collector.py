"""The table `collector`: one row, this collector."""

from collections.abc import Collection
from dataclasses import dataclass, fields

import pyarrow as pa

from fallow_collector.alerts.facts import Facts
from fallow_collector.facts.columns import Column, facts


@dataclass(frozen=True, slots=True)
class Itself:
    """The columns of alerts.schema.TABLES["collector"]; None: not known."""

    site: str
    version: str
    up_s: float
    complete: bool | None
    store_commits: bool
    state_commits: bool
    unacknowledged_s: float
    store_full_in_s: float | None
    events_dropped: int
    certificate_remaining_ratio: float | None
    certificate_expires_in_s: float | None
    receivers_failing: int
    rules_failing: int
    dead_letters: int


_TYPES = {
    field.name: pa.string() if field.type is str else pa.bool_() if "bool" in str(field.type) else pa.float64()
    for field in fields(Itself)
}


def collector(itself: Itself, wanted: Collection[str]) -> Facts:
    def column(name: str) -> Column:
        value = getattr(itself, name)
        return lambda: pa.array([value], _TYPES[name])

    return facts(1, {name: column(name) for name in wanted})
