"""The closed table of what a request needs of a single device, first things first: what no wait will change, then its
state, then what its state leaves open. A device that does not serve is counted at the first need that it fails.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit.offer import IDLE, Offer
from fallow_collector.fit.places import UNKNOWN
from fallow_collector.fleet.roster import GroupKey
from fallow_collector.idle import phase
from fallow_collector.idle.reasons import REASONS
from fallow_proto.dispatch import Request
from fallow_proto.states import Health


class Need(NamedTuple):
    reason: str  # what is said of a device that fails it
    field: str  # of Request; "": the request cannot change it
    means: str


NEEDS: tuple[Need, ...] = (
    Need("partition_profile", "partition_profile", "it is not a partition of the profile asked for, or not whole"),
    Need("vendor", "vendor", "it is of another vendor"),
    Need("model", "model", "it is another model"),
    Need("site", "sites", "it is at another site"),
    Need("site_excluded", "exclude_sites", "its site is excluded"),
    Need("peak_flops_unknown", "peak_flops", "the catalogue does not know its peak at the precision asked for"),
    Need("peak_flops_short", "peak_flops", "its peak at the precision asked for is lower"),
    Need("node_excluded", "exclude_nodes", "its node is excluded"),
    Need("domain_unknown", "same", "its link domain, rack, site or model is not known, and all must share one"),
    Need("memory_short", "free_memory_bytes", "all its memory is less"),
    Need("owned_by_scheduler", "", "a scheduler hands it out: ask there"),
    Need("not_idle", "wait", "it is not idle; its own first reason is said instead of this word"),
    Need("degraded", "health", "it works, and not quite as it should"),
    Need("low_confidence", "confidence", "it looks idle, and there is too little evidence: ask for low confidence"),
    Need("free_memory_unknown", "free_memory_bytes", "its free memory is not known"),
    Need("free_memory_short", "free_memory_bytes", "less of its memory is free"),
    Need("power_headroom_unknown", "power_headroom_watts", "its power or its power limit is not known"),
    Need("power_headroom_short", "power_headroom_watts", "it draws power too near to its limit"),
)

_BIT = {need.reason: np.uint32(1 << i) for i, need in enumerate(NEEDS)}
OWN = 0  # position in Roster.ledgers of our own
WORST = {"ok": phase.HEALTHS.index(Health.OK), "degraded": phase.HEALTHS.index(Health.DEGRADED)}

NOT_IDLE = _BIT["not_idle"]
_STATE = [need.reason for need in NEEDS].index("not_idle")

WORDS: tuple[str, ...] = (
    *(need.reason for need in NEEDS[:_STATE]),
    *(reason.name for reason in REASONS),
    *map(str, phase.PHASES),
    *(need.reason for need in NEEDS[_STATE + 1 :]),
)
"""Every word that a device may be counted under, in order of precedence. A device that is not idle and has no reason is
counted under its phase."""


_WORD_OF_NEED = np.array([
    i if i < _STATE else i + len(WORDS) - len(NEEDS) for i in range(len(NEEDS))
], dtype=np.intp)


def bits(field: str) -> np.uint32:
    """The needs that one field of a request makes."""
    return np.uint32(sum(int(_BIT[need.reason]) for need in NEEDS if need.field == field))


def failed(offer: Offer, request: Request, own_only: bool = False) -> NDArray[np.uint32]:
    """uint32[n], the needs that each device fails, a bit for each of NEEDS; 0: it serves.

    own_only: devices that a scheduler hands out do not serve.
    """
    found = _of_groups(offer.groups, request)[offer.group]

    def fails(reason: str, where: NDArray[np.bool_]) -> None:
        np.bitwise_or(found, _BIT[reason], out=found, where=where)

    if request.exclude_nodes:
        fails("node_excluded", _listed(offer.members.nodes, request.exclude_nodes)[offer.node])
    domain = offer.places(request.same)
    fails("domain_unknown", (domain.domain == UNKNOWN)[domain.of])
    if own_only:
        fails("owned_by_scheduler", offer.ledger != OWN)
    fails("not_idle", offer.phase != IDLE)
    fails("degraded", offer.health > WORST[request.health])
    if request.confidence == "high":
        fails("low_confidence", offer.low)
    if asked := request.free_memory_bytes:
        fails("memory_short", offer.measures.memory_limit_bytes < asked)
        fails("free_memory_unknown", np.isnan(offer.measures.free_memory_bytes))
        fails("free_memory_short", offer.measures.free_memory_bytes < asked)
    if request.peak_flops:
        peak = offer.measures.peak_flops(request.precision)
        fails("peak_flops_unknown", np.isnan(peak))
        fails("peak_flops_short", peak < request.peak_flops)
    if request.power_headroom_watts:
        fails("power_headroom_unknown", np.isnan(offer.measures.power_headroom_watts))
        fails("power_headroom_short", offer.measures.power_headroom_watts < request.power_headroom_watts)
    return found


def _of_groups(groups: tuple[GroupKey, ...], request: Request) -> NDArray[np.uint32]:
    """What the alike fail alike."""
    found = np.zeros(len(groups), dtype=np.uint32)

    def fails(reason: str, where: NDArray[np.bool_]) -> None:
        np.bitwise_or(found, _BIT[reason], out=found, where=where)

    sites = [key.site for key in groups]
    fails("partition_profile", ~_among([key.partition_profile for key in groups], [request.partition_profile]))
    if request.vendor:
        fails("vendor", ~_among([key.vendor for key in groups], request.vendor))
    if request.model:
        fails("model", ~_among([key.model for key in groups], request.model))
    if request.sites:
        fails("site", ~_among(sites, request.sites))
    fails("site_excluded", _among(sites, request.exclude_sites))
    return found


def _among(words: Iterable[str], asked: Iterable[str]) -> NDArray[np.bool_]:
    listed = frozenset(asked)
    return np.array([word in listed for word in words], dtype=np.bool_)


def _listed(words: Sequence[str], asked: Iterable[str]) -> NDArray[np.bool_]:
    """Of words that are many and in their order, those that are asked for."""
    found = np.zeros(len(words) + 1, dtype=np.bool_)  # the last: of UNKNOWN
    for word in asked:
        position = bisect_left(words, word)
        found[position] = words[position : position + 1] == (word,)
    return found


def first_words(offer: Offer, failing: NDArray[np.uint32], at: NDArray[np.intp]) -> NDArray[np.intp]:
    """intp[at], position in WORDS of the first need that each of the devices at these positions fails."""
    lowest = failing[at] & (~failing[at] + np.uint32(1))
    need = np.bitwise_count(lowest - np.uint32(1))
    word = _WORD_OF_NEED[need]
    own = at[need == _STATE]
    first = offer.first[own]
    word[need == _STATE] = _STATE + np.where(first < len(REASONS), first, len(REASONS) + offer.phase[own])
    return word
