"""The table `reader`: every vendor's reader of every node."""

from collections.abc import Collection, Sequence

import numpy as np

from fallow_collector.alerts.facts import Facts
from fallow_collector.facts.columns import Column, facts, numbers, optional, texts
from fallow_collector.fleet.registry import Node, ReaderState
from fallow_collector.view import Snapshot

Reader = tuple[Node, ReaderState]


def readers(there: Sequence[Node], snapshot: Snapshot, wanted: Collection[str]) -> Facts:
    """there: the nodes."""
    every = [(node, reader) for node in there for reader in node.readers]
    return facts(len(every), {name: _column(name, every, snapshot) for name in wanted})


def _column(name: str, every: Sequence[Reader], snapshot: Snapshot) -> Column:
    match name:
        case "node":
            return texts([node.name for node, _ in every])
        case "site":
            return texts([node.site for node, _ in every])
        case "reader":
            return texts([reader.name for _, reader in every])
        case "state":  # of a node that is away nobody knows it
            return texts([reader.state if node.connected else None for node, reader in every])
        case "message":
            return texts([reader.message if node.connected else None for node, reader in every])
        case "state_s":  # by the agent's own clock: a step of ours makes no state older
            stamps = np.array([reader.since_ms / 1000 if reader.since_ms else np.nan for _, reader in every])
            offsets = optional([node.offset if node.connected else None for node, _ in every])
            return numbers(snapshot.now - offsets - stamps)
    raise KeyError(f"BUG: table reader has no maker of column {name!r}")
