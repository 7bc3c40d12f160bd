"""The two questions of kube-scheduler's extender protocol, answered from what nodes have now: pure.

Shapes as in k8s.io/kube-scheduler/extender/v1. Nothing is reserved by an answer, so any other caller may ask as well.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from fallow_proto.kubernetes.resources import Kind

MAX_PRIORITY = 10  # MaxExtenderPriority


class Args(msgspec.Struct, rename="pascal"):
    """ExtenderArgs: `nodes` (a v1.NodeList), or `node_names` where the extender is configured as nodeCacheCapable."""

    pod: dict[str, Any] | None = None
    nodes: dict[str, Any] | None = None
    node_names: list[str] | None = None


class FilterResult(msgspec.Struct, rename="pascal"):
    """ExtenderFilterResult. A node that is failed and unresolvable would not do after an eviction either."""

    nodes: dict[str, Any] | None = None
    node_names: list[str] | None = None
    failed_nodes: dict[str, str] = {}
    failed_and_unresolvable_nodes: dict[str, str] = {}
    error: str = ""


class HostPriority(msgspec.Struct, rename="pascal"):
    host: str
    score: int


class Room(NamedTuple):
    """A node's devices of one kind; known: an agent has spoken for the node."""

    known: bool
    devices: int = 0
    idle: int = 0
    taken: int = 0  # by pods, which could be evicted
    reasons: Mapping[str, int] = {}  # why the others are not idle


RoomOf = Callable[[str, Kind], Room]


def filter_nodes(args: Args, demand: Mapping[Kind, int], room_of: RoomOf) -> FilterResult:
    """Nodes with enough idle devices of every kind that the pod asks for."""
    failed: dict[str, str] = {}
    hopeless: dict[str, str] = {}
    for name in names(args):
        for kind, count in demand.items():
            room = room_of(name, kind)
            if room.idle < count:
                resolvable = room.idle + room.taken >= count
                (failed if resolvable else hopeless)[name] = _why(kind, count, room)
    failed = {name: why for name, why in failed.items() if name not in hopeless}

    def passes(name: str) -> bool:
        return name not in failed and name not in hopeless

    result = FilterResult(failed_nodes=failed, failed_and_unresolvable_nodes=hopeless)
    if args.nodes is not None:
        result.nodes = {**args.nodes, "items": [node for node in _items(args.nodes) if passes(_name(node))]}
    if args.node_names is not None:
        result.node_names = [name for name in args.node_names if passes(name)]
    return result


def prioritize(args: Args, demand: Mapping[Kind, int], room_of: RoomOf) -> list[HostPriority]:
    """Best fit: the fewer devices stay idle on the node, the better, so that whole nodes stay whole."""
    return [HostPriority(host=name, score=_score(name, demand, room_of)) for name in names(args)]


def names(args: Args) -> list[str]:
    """The candidate nodes, in their order."""
    if args.node_names is not None:
        return list(args.node_names)
    return [_name(node) for node in _items(args.nodes or {})]


def _score(name: str, demand: Mapping[Kind, int], room_of: RoomOf) -> int:
    rooms = [(room_of(name, kind), count) for kind, count in demand.items()]
    left = sum(room.idle - count for room, count in rooms)
    there = sum(room.devices for room, _ in rooms)
    if not there or left < 0:
        return 0
    return round(MAX_PRIORITY * (1 - left / there))


def _why(kind: Kind, count: int, room: Room) -> str:
    what = f"{kind.vendor} {kind.profile}".strip()
    if not room.known:
        return f"fallow: no agent speaks for this node, so nothing of it is known; {count} {what} asked"
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(room.reasons.items()))
    return f"fallow: {room.idle}/{room.devices} {what} idle, {count} asked" + (f": {reasons}" if reasons else "")


def _items(nodes: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    return nodes.get("items") or ()


def _name(node: Mapping[str, Any]) -> str:
    return str((node.get("metadata") or {}).get("name", ""))
