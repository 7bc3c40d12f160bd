"""One node, as the API shows it."""

import numpy as np

from fallow_collector.answers.numbers import milliseconds, rfc3339
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.registry import Node
from fallow_collector.idle import phase
from fallow_collector.view import Snapshot
from fallow_proto import api
from fallow_proto.states import Freshness


def node(fleet: Fleet, snapshot: Snapshot, which: Node) -> api.Node:
    rows = np.array([row for row in which.rows if fleet.owner[row] == which.number and fleet.alive[row]], dtype=np.intp)
    phases, tally = np.unique(snapshot.assessment.phase[rows], return_counts=True)
    fresh = snapshot.assessment.freshness[rows]
    age = float(snapshot.age_s[rows].min()) if len(rows) else np.inf
    return api.Node(
        node=which.name, site=which.site,
        freshness=str(phase.FRESHNESSES[fresh.min()] if len(rows) else Freshness.ABSENT),
        age_ms=milliseconds(age),
        agent_version=which.agent_version or None, epoch=which.epoch or None, connected=which.connected,
        devices=len(rows),
        phases={str(phase.PHASES[p]): int(n) for p, n in zip(phases, tally, strict=True)},
        readers=[
            api.Reader(name=r.name, state=r.state, since=rfc3339(r.since_ms / 1000) if r.since_ms else None,
                       message=r.message)
            for r in which.readers
        ],
        rack=which.rack or None,
        clock_skew_s=None if which.offset is None else snapshot.now - which.offset - snapshot.as_of,
        spool_pending=which.spool_pending,
        spool_dropped=which.spool_dropped,
    )
