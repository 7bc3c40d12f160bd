"""Who owns each device of this node, as far as the node was told: the rule by which a Fence is taken or refused.

Martin Kleppmann, "How to do distributed locking": a token that only ever rises lets whoever guards a resource turn
away an owner that was away for too long, however late that one comes back and whatever it still believes.
"""

from collections.abc import Iterable, Mapping

from fallow_proto.v1 import telemetry_pb2 as pb

TOKEN_LIMIT = 2**53
"""What a double still counts: scripts read tokens as JSON."""

DEVICES = 1_024
"""Of which a node keeps tokens. It never forgets one, and boards are exchanged a few times in a node's life; all of
them have to fit into a Hello."""

Kept = Mapping[str, pb.DeviceFence]
"""The newest fence of each device, by uuid."""


def fault(fence: pb.DeviceFence) -> str:
    """Why this is no fence, and what is expected; empty when it is one."""
    if not fence.device:
        return "a fence without a device, expected its uuid"
    if not 0 < fence.token < TOKEN_LIMIT:
        return f"token {fence.token} of device {fence.device}, expected 1 to below 2^53"
    return ""


def after(kept: Kept, asked: Iterable[pb.DeviceFence]) -> dict[str, pb.DeviceFence]:
    """What is to be kept once these were asked for.

    A lower token than the kept one is refused; an equal one may only say whether the lease still holds; what is no
    fence, and devices beyond the limit, are left out.
    """
    new = dict(kept)
    for fence in asked:
        before = new.get(fence.device)
        if fault(fence) or (before is None and len(new) >= DEVICES):
            continue
        if before is None or fence.token > before.token:
            new[fence.device] = fence
        elif fence.token == before.token and fence.held != before.held:
            new[fence.device] = pb.DeviceFence(
                device=before.device, token=before.token, held=fence.held, lease_id=before.lease_id,
                holder=before.holder,
            )
    return new


def of(kept: Kept, asked: Iterable[pb.DeviceFence]) -> list[pb.DeviceFence]:
    """What is kept of the devices that were asked about, each once and in their order."""
    return [kept[device] for device in dict.fromkeys(fence.device for fence in asked) if device in kept]
