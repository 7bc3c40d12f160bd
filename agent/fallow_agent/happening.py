"""Something that happened, as whoever saw it tells it."""

from typing import NamedTuple

from fallow_proto.states import EventKind


class Happening(NamedTuple):
    """`device` is a uuid, empty for the node. `code` is the vendor's number, `source` who said so ("": the agent).

    times: how often it happened; 0 for words that may only say again what was counted already.
    """

    kind: EventKind
    device: str
    message: str
    code: int | None = None
    source: str = ""
    times: int = 1
