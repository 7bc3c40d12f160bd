"""Which columns of which tables rules look at."""

from collections.abc import Iterable

from fallow_collector.alerts.engine import connect
from fallow_collector.alerts.expression import parse
from fallow_collector.alerts.rule import Rule
from fallow_collector.alerts.schema import TABLES


def columns_of(rules: Iterable[Rule]) -> dict[str, set[str]]:
    """By table: what their expressions and templates name, and the labels."""
    found: dict[str, set[str]] = {}
    with connect() as connection:
        for rule in rules:
            said = {name for template in rule.annotations.values() for name in template.get_identifiers()}
            named = found.setdefault(rule.over, set(TABLES[rule.over].labels))
            named |= parse(rule.expr, rule.over, connection).columns | (said & TABLES[rule.over].columns.keys())
    return found
