"""The table `ledger`: every imported ledger, as a whole or node by node, as it was imported."""

from collections.abc import Collection, Sequence

import numpy as np

from fallow_collector.alerts.facts import Facts
from fallow_collector.facts.columns import Column, facts, numbers, optional, texts, truths
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.ledgers.imports import Imported


def ledgers(fleet: Fleet, site: str, imported: Sequence[Imported], wanted: Collection[str]) -> Facts:
    """site: the collector's, of a ledger that is no node's."""

    def site_of(name: str) -> str:
        node = fleet.node(name)
        return node.site if node is not None and node.site else site

    def column(name: str) -> Column:
        match name:
            case "ledger" | "node":
                return texts([getattr(one, name) for one in imported])
            case "site":
                return texts([site_of(one.node) for one in imported])
            case "age_s":
                return numbers(optional([one.age_s for one in imported]))
            case "stale":
                return truths(np.array([one.stale for one in imported], np.bool_))
        raise KeyError(f"BUG: table ledger has no maker of column {name!r}")

    return facts(len(imported), {name: column(name) for name in wanted})
