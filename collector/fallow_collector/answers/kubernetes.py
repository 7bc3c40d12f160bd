"""What nodes have now, for kube-scheduler's questions."""

from collections.abc import Sequence

import numpy as np

from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.roster import OWN_LEDGER
from fallow_collector.idle import phase
from fallow_collector.idle.reasons import REASONS, primary
from fallow_collector.kubernetes import extender
from fallow_collector.kubernetes.extender import Args, FilterResult, HostPriority, Room
from fallow_collector.kubernetes.pod import PodError, demand
from fallow_collector.view import Snapshot, View
from fallow_proto.kubernetes.resources import Kind
from fallow_proto.states import Allocation, Phase

LEDGER = "kubernetes"
_IDLE = phase.PHASES.index(Phase.IDLE)
_LEASED = phase.ALLOCATIONS.index(Allocation.LEASED)


class Extender:
    """Implements api.kubernetes.Extender."""

    def __init__(self, fleet: Fleet, view: View) -> None:
        self._fleet = fleet
        self._view = view

    def filter(self, args: Args, sites: Sequence[str] = ()) -> FilterResult:
        """Nodes are found by name; a node's device counts if nobody but Kubernetes may hand it out."""
        try:
            asked = demand(args.pod or {})
        except PodError as error:
            return FilterResult(error=f"fallow: {error}")
        snapshot = self._view.now()
        return extender.filter_nodes(args, asked, lambda name, kind: self._room(snapshot, name, kind, sites))

    def prioritize(self, args: Args, sites: Sequence[str] = ()) -> list[HostPriority]:
        """Raises PodError."""
        asked = demand(args.pod or {})
        snapshot = self._view.now()
        return extender.prioritize(args, asked, lambda name, kind: self._room(snapshot, name, kind, sites))

    def _room(self, snapshot: Snapshot, name: str, kind: Kind, sites: Sequence[str]) -> Room:
        fleet = self._fleet
        node = fleet.node(name)
        if node is None or not node.agent_version or (sites and node.site not in sites):
            return Room(known=False)
        ours = [number for number, ledger in enumerate(fleet.ledgers) if ledger in (OWN_LEDGER, LEDGER)]
        rows = np.array([
            row for row in node.rows
            if row < len(snapshot.counted) and snapshot.counted[row] and fleet.owner[row] == node.number
            and not fleet.host[row] and fleet.ledger[row] in ours
            and (fleet.identities[row].vendor, fleet.identities[row].partition_profile) == kind
        ], dtype=np.intp)
        assessed = snapshot.assessment
        idle = (assessed.phase[rows] == _IDLE) & ~assessed.low[rows] & (fleet.owned(rows) == 0)
        taken = (fleet.imported[rows] == _LEASED) & (fleet.allocation[rows] == 0)
        first = primary(assessed.reasons[rows][~idle])
        reasons = {REASONS[i].name: int(n) for i, n in zip(*np.unique(first, return_counts=True), strict=True)
                   if i < len(REASONS)}
        return Room(True, len(rows), int(idle.sum()), int(taken.sum()), reasons)
