"""What somebody wants to be cordoned, checked as far as no fleet is needed."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import NamedTuple

from fallow_collector.cordons.entry import OURS, Clocks, Entry, reckoned
from fallow_proto.states import Service

LONGEST_S = 366 * 86_400.0
"""Most seconds of for_s: more is a mistyped number, and what is meant to last is lifted by hand."""

FARTHEST_S = 10 * LONGEST_S
"""Most seconds from now to the start or the end of a window, for the same reason."""

MAX_OWNER, MAX_REASON = 256, 1024  # characters


class Unfit(ValueError):
    """It cannot be meant so; the message says what was found and what was expected."""


class Wanted(NamedTuple):
    """start, end: unix seconds, None: not given. for_s 0: until it is lifted."""

    kind: Service
    devices: tuple[str, ...]
    nodes: tuple[str, ...]
    owner: str
    reason: str
    for_s: float = 0.0
    start: float | None = None
    end: float | None = None


def speaker(caller: str, given: str) -> str:
    """Who speaks. caller: the name of the token, which goes in front; empty where none is needed."""
    return "/".join(name for name in (caller, given) if name)


def check(wanted: Wanted, wall: float) -> None:
    """Raises Unfit."""
    _check_owner(wanted.owner)
    if len(wanted.reason) > MAX_REASON or not wanted.reason.isprintable():
        raise Unfit(f"reason={wanted.reason[:80]!r}: expected at most {MAX_REASON} printable characters")
    if not wanted.devices and not wanted.nodes:
        raise Unfit("devices and nodes are empty; expected at least one of them")
    if not 0 <= wanted.for_s <= LONGEST_S:
        raise Unfit(
            f"for_s={wanted.for_s:g}: expected seconds from 0 (until it is lifted) to {LONGEST_S:.0f}"
        )
    if wanted.start is None and wanted.end is None:
        return
    if wanted.kind is not Service.MAINTENANCE:
        raise Unfit(f"kind={wanted.kind}: has no start and end; expected for_s, or kind=maintenance")
    if wanted.end is not None and wanted.for_s:
        raise Unfit("end and for_s are both given; expected one of them")
    end = _end(wanted, wall)
    if end <= wall:
        raise Unfit(f"end: the window ended {wall - end:.0f} s ago; expected one that ends in the future")
    if wanted.start is not None and end <= wanted.start:
        raise Unfit(f"end: is {wanted.start - end:.0f} s before start; expected start < end")
    if any(not abs(at - wall) <= FARTHEST_S for at in (wanted.start, end) if at not in (None, inf)):
        raise Unfit(f"start, end: more than {FARTHEST_S / LONGEST_S:.0f} years from now; expected a nearer window")


def entries(wanted: Wanted, ids: Sequence[str], nodes_of: Mapping[str, str], at: Clocks) -> list[Entry]:
    """One a device and node. ids: as many; nodes_of: the node of each device."""
    if wanted.start is None and wanted.end is None:
        start, end = inf, -inf
        from_s, until_s = -inf, at.now + (wanted.for_s or inf)
    else:
        start, end = at.wall if wanted.start is None else wanted.start, _end(wanted, at.wall)
        from_s, until_s = reckoned(start, end, at)
    targets = [(device, nodes_of[device]) for device in wanted.devices] + [("", node) for node in wanted.nodes]
    return [
        Entry(name, wanted.kind, device, node, wanted.owner, wanted.reason, at.wall, from_s, until_s, start, end)
        for name, (device, node) in zip(ids, targets, strict=True)
    ]


def _check_owner(owner: str) -> None:
    if not owner:
        raise Unfit("owner is empty; expected who cordons, because only the owner can lift it again")
    if owner == OURS:
        raise Unfit(f"owner={owner}: is the collector's own name; expected another one")
    if len(owner) > MAX_OWNER or not owner.isprintable():
        raise Unfit(f"owner={owner[:80]!r}: expected at most {MAX_OWNER} printable characters")


def _end(wanted: Wanted, wall: float) -> float:
    if wanted.end is not None:
        return wanted.end
    begins = wall if wanted.start is None else wanted.start
    return begins + (wanted.for_s or inf)
