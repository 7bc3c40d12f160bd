"""What the protocol is told (past participle) and what it asks for (imperative). Times are boot-time seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fallow_agent.spool.item import Item, Ranges, Refused
from fallow_proto.v1 import telemetry_pb2 as pb


class Identity(NamedTuple):
    """What a Hello says that does not change while the agent runs."""

    site: str
    node: str
    agent_version: str
    boot_id: str
    interval_s: float
    rack: str = ""


# What happened


@dataclass(frozen=True, slots=True)
class Started:
    """The agent begins to look for its collector; what the spool recovered has been told."""


@dataclass(frozen=True, slots=True)
class EpochBegan:
    epoch: str


@dataclass(frozen=True, slots=True)
class Inventoried:
    """Devices or readers changed; both in full."""

    devices: Sequence[pb.Device]
    readers: Sequence[pb.Reader]


@dataclass(frozen=True, slots=True)
class Sampled:
    report: Item


@dataclass(frozen=True, slots=True)
class Happened:
    event: Item


@dataclass(frozen=True, slots=True)
class Recovered:
    """The spool held these from earlier."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Dropped:
    """The spool had to let these go. reports: how many of them are no events."""

    ranges: Ranges
    reports: int


@dataclass(frozen=True, slots=True)
class SpoolRead:
    """The answer to a ReadSpool: all that there is from its lo to `until`."""

    request: "ReadSpool"
    until: int
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Kept:
    """All the fences that the node keeps, on disk for good."""

    fences: Sequence[pb.DeviceFence]


@dataclass(frozen=True, slots=True)
class Fenced:
    """The answer to a Fence: what is kept of its devices."""

    fences: Sequence[pb.DeviceFence]


@dataclass(frozen=True, slots=True)
class Allocated:
    """What a scheduler's daemon on this node said at that moment; it replaces what it said before."""

    ledger: pb.Ledger
    at: float


@dataclass(frozen=True, slots=True)
class Listed:
    """The processes of these devices, each in full."""

    lists: Sequence[pb.Processes]


@dataclass(frozen=True, slots=True)
class Recertified:
    """The files of [tls] hold another certificate than the stream was dialled with."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """A stream is there to be written to."""


@dataclass(frozen=True, slots=True)
class Received:
    message: pb.ToAgent


@dataclass(frozen=True, slots=True)
class Written:
    """The wire took one message that was to be sent."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream is gone, or could not be had. rejected: the collector said no, so that haste is of no use."""

    reason: str
    rejected: bool = False


Event = (
    Started | EpochBegan | Inventoried | Sampled | Happened | Recovered | Dropped | SpoolRead | Kept | Fenced
    | Allocated | Listed | Recertified | Dialled | Received | Written | Lost
)


# What to do


@dataclass(frozen=True, slots=True)
class Dial:
    at: float


@dataclass(frozen=True, slots=True)
class Send:
    message: pb.FromAgent


@dataclass(frozen=True, slots=True)
class HangUp:
    reason: str


@dataclass(frozen=True, slots=True)
class ReadSpool:
    """Answer with SpoolRead. events: only those."""

    at: float
    epoch: str
    lo: int
    hi: int
    max_bytes: int
    events: bool


@dataclass(frozen=True, slots=True)
class Trim:
    """The store has these for good."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class SetAside:
    refused: Refused


@dataclass(frozen=True, slots=True)
class Exempt:
    """Processes that the collector says hold nothing."""

    holders: Sequence[pb.Holder]


@dataclass(frozen=True, slots=True)
class Fence:
    """Keep these on disk; then say Kept and Fenced."""

    fences: Sequence[pb.DeviceFence]


@dataclass(frozen=True, slots=True)
class Quiesce:
    """Have the vendors' readers let go for so long; 0: have them back."""

    for_s: float
    by: str


Action = Dial | Send | HangUp | ReadSpool | Trim | SetAside | Exempt | Fence | Quiesce
