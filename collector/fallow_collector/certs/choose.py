"""Which authority signs, which are trusted, and when: the whole of a change of authorities.

    rotate ──► agents' next leaves are of the new one, and bring it to the agents beside the old one
           ──► no agent's leaf from before is left: all agents trust the new one, so the collector's is of it as well
           ──► no leaf of the old one is left: it is trusted no more

Each step waits for the last leaf that the step before could not reach: no agent is ever shown what it does not trust.
"""

from collections.abc import Sequence

from fallow_collector.certs.issuer import Span
from fallow_collector.certs.rows import InUse, Leaf, Root

BACKDATE_S = 300
"""A leaf begins earlier than it is made, for nodes whose clocks are slow; a short one by a tenth of its life."""

DUE = 2 / 3
"""Of a leaf's life, after which it is renewed."""


def span(now: float, life_s: float, root_ends: int, not_before: int = 0) -> Span:
    """Of a leaf made now. not_before: when its node was revoked: what was revoked is told from what came after."""
    begins = max(int(now - min(BACKDATE_S, life_s / 10)), not_before)
    return Span(begins, min(round(now + life_s), root_ends))


def for_agents(roots: Sequence[Root]) -> Root:
    return roots[-1]


def for_collector(roots: Sequence[Root], use: InUse) -> Root:
    """The newest that every agent trusts. roots: oldest first."""
    known = [root for root in roots if use.oldest is None or root.made < use.oldest]
    return (known or roots[:1])[-1]


def trusted(roots: Sequence[Root], use: InUse) -> list[Root]:
    """The newest, and whoever signed a leaf that is still in use; the newest first."""
    needed = {roots[-1].serial, *use.roots, *([use.collector.root] if use.collector else [])}
    return [root for root in reversed(roots) if root.serial in needed]


def is_due(leaf: Leaf, now: float) -> bool:
    return now >= leaf.begins + DUE * (leaf.ends - leaf.begins)
