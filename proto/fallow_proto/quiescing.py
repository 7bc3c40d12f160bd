"""What an operator asks and is told when a node's readers let go of its devices for a while, as JSON."""

import msgspec

from fallow_proto import api

LONGEST_S = 86_400.0
SHORTEST_S = 5.0
"""An agent that looks once a second would be back before anybody heard that it had let go."""


class QuiesceRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    for_s: float  # then they come back by themselves
    force: bool = False  # also while somebody has devices of the node


class Quiesced(msgspec.Struct, kw_only=True):
    """How it stood when the answer was given."""

    node: str
    done: bool  # all have let go, or all are back; false: not within the time that the answer could wait
    readers: list[api.Reader]  # of the vendors
    held: list[str]  # uuids of the node's devices that somebody has; nobody watches them meanwhile
