"""Names that several stages use for the same things: whose rows, and which of an agent's numbers."""

from typing import NamedTuple


class Series(NamedTuple):
    """The tags of one device's rows."""

    site: str
    node: str
    uuid: str
    vendor: str
    model: str
    device_class: str


class Source(NamedTuple):
    """Whose numbers: one run of one node's agent."""

    node: str
    epoch: str


class Span(NamedTuple):
    """Sequence numbers lo..hi of a source, both included."""

    source: Source
    lo: int
    hi: int
