"""Which of Slurm's nodes to drain, and which of our own drains to lift. Pure: facts in, actions out.

A node is drained for a device that works although no job has it, or that is faulty; it is resumed when that is gone
and everything on it is known. What an operator drained, or gave another reason to, is never touched.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import floor
from typing import NamedTuple

from fallow_client.slurm.scontrol import SlurmNode
from fallow_proto import api

OURS = "fallow:"
UNMANAGED_S = 120.0
WINDOW_S = 600.0
SHARE = 0.02  # of the nodes, drained within WINDOW_S; at least one
ANSWER_STALE_S = 10.0
_OUT = frozenset({"DRAIN", "DRAINED", "DRAINING", "DOWN", "FAIL", "FAILING", "MAINT", "FUTURE", "POWERED_DOWN"})
_DRAINED = frozenset({"DRAIN", "DRAINED", "DRAINING"})
_BAD_FRESHNESS = ("stale", "lost")


class Drain(NamedTuple):
    node: str
    reason: str


class Resume(NamedTuple):
    node: str


Action = Drain | Resume


@dataclass(frozen=True, slots=True)
class Facts:
    """slurm: nodes with GPUs. reading_age_s: since Slurm was read; answer_age_s: since the collector answered.
    suspects: the ledger's devices that are unmanaged or faulty, each with the seconds that it has been so.
    freshness: of each node by name, as the collector has it. ours: all of the ledger's devices on the nodes that we
    drained. recent: nodes that we drained within WINDOW_S. us: the user whose drains are ours.
    """

    slurm: Sequence[SlurmNode]
    reading_age_s: float
    answer_age_s: float
    suspects: Sequence[tuple[api.Device, float]]
    freshness: dict[str, str]
    ours: Sequence[api.Device]
    recent: frozenset[str]
    us: str


class Plan(NamedTuple):
    actions: list[Action]
    held_back: list[str]  # why others are not, for the log


def plan(facts: Facts) -> Plan:
    if facts.answer_age_s > ANSWER_STALE_S or facts.reading_age_s > ANSWER_STALE_S:
        return Plan([], ["the collector's answer or Slurm's state is too old to act on"])
    blind = [
        node.name for node in facts.slurm
        if not node.states & _OUT and facts.freshness.get(node.name, "lost") in _BAD_FRESHNESS
    ]
    if blind:
        return Plan([], [f"Slurm sees nodes that Fallow does not, so nothing is done: {', '.join(sorted(blind)[:8])}"])
    drains = _drains(facts)
    room = max(0, allowed(len(facts.slurm)) - len(facts.recent))
    held_back = [
        f"{drain.node} is not drained ({drain.reason}): {len(facts.recent)} were within {WINDOW_S / 60:.0f} minutes"
        for drain in drains[room:]
    ]
    return Plan([*_resumes(facts), *drains[:room]], held_back)


def allowed(nodes: int) -> int:
    """Drains within WINDOW_S."""
    return max(1, floor(SHARE * nodes))


def is_ours(node: SlurmNode, us: str) -> bool:
    return bool(node.states & _DRAINED) and node.reason.startswith(OURS) and node.reason_user == us


def lately(nodes: Iterable[SlurmNode], us: str, now: datetime) -> set[str]:
    """Nodes that we drained within WINDOW_S, by Slurm's own record, so that runs of cron count each other's.

    A reason's time is local and has no offset; one that cannot be read counts.
    """
    return {node.name for node in nodes if is_ours(node, us) and _age_s(node.reason_time, now) <= WINDOW_S}


def _age_s(printed: str, now: datetime) -> float:
    try:
        return (now - datetime.fromisoformat(printed).astimezone()).total_seconds()
    except ValueError:
        return 0.0


def _drains(facts: Facts) -> list[Drain]:
    in_service = {node.name for node in facts.slurm if not node.states & _OUT}
    found: dict[str, str] = {}
    for device, for_s in facts.suspects:
        if device.node in in_service and device.node not in found and (reason := _reason(device, for_s, facts)):
            found[device.node] = reason
    return [Drain(node, reason) for node, reason in sorted(found.items())]


def _reason(device: api.Device, for_s: float, facts: Facts) -> str:
    """Why its node should be drained; empty: it should not."""
    if device.freshness != "live" or device.allocation != "free":
        return ""
    what = f"minor {device.minor}" if device.minor is not None else device.uuid
    if device.phase == "faulty":
        return f"{OURS} device {what} is faulty: {', '.join(device.reasons)}"
    # A job that began after Slurm was read is no stranger: the reading must be newer than the work.
    if device.phase == "unmanaged" and for_s >= UNMANAGED_S and facts.reading_age_s < for_s:
        return f"{OURS} device {what} is in use and no job has it: {', '.join(device.reasons)}"
    return ""


def _resumes(facts: Facts) -> list[Resume]:
    by_node: dict[str, list[api.Device]] = {}
    for device in facts.ours:
        by_node.setdefault(device.node, []).append(device)
    return [
        Resume(node.name) for node in facts.slurm
        if is_ours(node, facts.us) and not node.states & {"DOWN", "FAIL"} and not node.problem
        and len(devices := by_node.get(node.name, [])) >= sum(gres.many for gres in node.gres)
        and all(_is_well(device) for device in devices)
    ]


def _is_well(device: api.Device) -> bool:
    return (
        device.freshness == "live" and device.health in ("ok", "degraded") and device.allocation in ("free", "leased")
        and device.phase in ("idle", "verifying", "leased")
    )
