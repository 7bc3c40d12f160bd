"""Whether devices may be given away right now: judged afresh, these rows alone."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fallow_collector.faulted import Faulted
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.roster import NOBODY
from fallow_collector.idle import phase
from fallow_collector.idle.assess import Assessment, Presence, assess
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.reasons import names
from fallow_proto.dispatch import Fault
from fallow_proto.states import Allocation, Phase

FREE = phase.ALLOCATIONS.index(Allocation.FREE)
IDLE = phase.PHASES.index(Phase.IDLE)
OWN = 0  # position of Fallow's own ledger in Roster.ledgers
NAMED = 3  # devices that a message names


def judged(fleet: Fleet, engine: Engine, rows: NDArray[np.intp], now: float) -> Assessment:
    """The axes and the phase of these rows as they are now."""
    presence = Presence(
        np.maximum(now - fleet.seen_at[rows], 0.0), fleet.interval_s[rows], fleet.present[rows], fleet.owned(rows),
        fleet.service[rows], _shared(fleet, rows), fleet.verdict[rows],
        fleet.foreign[rows],
    )
    return assess(engine.in_force("stale_s", rows), engine.in_force("lost_s", rows), engine.state[rows], presence)


def refusal(fleet: Fleet, engine: Engine, rows: NDArray[np.intp], low: bool, now: float) -> Faulted | None:
    """Why these rows may not be given away; None: they may. low: what only one witness speaks for will do."""
    foreign = fleet.ledger[rows] != OWN
    if foreign.any():
        ledgers = sorted({fleet.ledgers[position] for position in fleet.ledger[rows[foreign]]})
        return _faulted(Fault.OWNED_BY_SCHEDULER, fleet, rows[foreign], [
            f"{fleet.identities[row].uuid} is handed out by {fleet.ledgers[fleet.ledger[row]]}"
            for row in rows[foreign][:NAMED]
        ], f"ask {' and '.join(ledgers)} for it")
    found = judged(fleet, engine, rows, now)
    busy = (found.phase != IDLE) | (found.low & (not low)) | ~fleet.alive[rows]
    if busy.any():
        at = np.flatnonzero(busy)
        return _faulted(Fault.NOT_IDLE, fleet, rows[at], [
            f"{fleet.identities[rows[i]].uuid} is {_words(found, int(i))}" for i in at[:NAMED]
        ], "`fallow explain` says what would have to happen")
    overlapping = _overlapping(fleet, rows)
    if overlapping.any():
        return _faulted(Fault.NOT_IDLE, fleet, rows[overlapping], [
            f"{fleet.identities[row].uuid} is part of a device that is held, or is there as partitions"
            for row in rows[overlapping][:NAMED]
        ], "ask for a device that shares nothing with another")
    return None


def _words(found: Assessment, i: int) -> str:
    word = str(phase.PHASES[found.phase[i]])
    word = f"{word} with low confidence" if word == Phase.IDLE and found.low[i] else word
    reasons = names(int(found.reasons[i]))
    return f"{word} ({', '.join(reasons)})" if reasons else word


def _faulted(fault: Fault, fleet: Fleet, rows: NDArray[np.intp], found: Sequence[str], advice: str) -> Faulted:
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return Faulted(fault, f"{', '.join(found)}{more}; {advice}", [fleet.identities[row].uuid for row in rows])


def _shared(fleet: Fleet, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Hosts of which somebody holds an accelerator, as View has it, of these rows."""
    host = fleet.host[rows]
    if not host.any():
        return host
    every = slice(fleet.count)
    held = (fleet.owned() != FREE) & ~fleet.host[every] & fleet.alive[every]
    return host & np.isin(fleet.owner[rows], fleet.owner[every][held])


def _overlapping(fleet: Fleet, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Partitions whose parent is somebody's, and devices that are there as partitions or have one that is held."""
    parents = fleet.parent[rows]
    parts = parents != NOBODY
    overlapping: NDArray[np.bool_] = parts.copy()
    overlapping[parts] = fleet.owned(parents[parts]) != FREE
    children = np.flatnonzero(fleet.parent[: fleet.count] != NOBODY)
    children = children[fleet.present[children] | (fleet.owned(children) != FREE)]
    return np.logical_or(overlapping, np.isin(rows, fleet.parent[children]))
