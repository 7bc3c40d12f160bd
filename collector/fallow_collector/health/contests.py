"""Nodes that name devices of others: what is said of them, and how often."""

from collections import defaultdict
from collections.abc import Iterable

from fallow_collector.fleet.roster import Claim

AGAIN_S = 1800.0
"""While it lasts it is said again, before the incident that it makes is over for want of news (an hour)."""

SHOWN = 3
"""Devices that a message names; a whole machine that was cloned has more."""


class Contests:
    def __init__(self) -> None:
        self._said: dict[str, float] = {}  # by node, monotonic seconds

    def step(self, claims: Iterable[Claim], now: float) -> list[tuple[str, str]]:
        """Nodes and messages that are to be said now. claims: all that stand; now: monotonic seconds."""
        self._said = {node: at for node, at in self._said.items() if now - at < AGAIN_S}
        found: defaultdict[str, list[Claim]] = defaultdict(list)
        for claim in claims:
            found[claim.node].append(claim)
        fresh = found.keys() - self._said.keys()
        self._said.update(dict.fromkeys(fresh, now))
        return [(node, _message(found[node])) for node in sorted(fresh)]


def _message(claims: list[Claim]) -> str:
    named = ", ".join(f"{claim.uuid} of {claim.owner}" for claim in claims[:SHOWN])
    more = f" and {len(claims) - SHOWN} more" if len(claims) > SHOWN else ""
    return (
        f"names devices that other nodes have and report, which keep them: {named}{more}; expected each on one node. "
        f"Is it a clone with the same machine id, a second agent on one machine, or a certificate in wrong hands?"
    )
