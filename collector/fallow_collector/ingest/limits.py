"""How much one agent may take of the collector, so that a broken or hostile one costs the others nothing.

Each limit is several times what an agent of ours can come to: it says more than that only when something is wrong. An
agent over a limit loses its stream and nothing else: what it has to say stays in its spool, and it dials again in
seconds.
"""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from fallow_collector.ingest.identity import Identity
from fallow_proto.v1 import telemetry_pb2 as pb


class What(StrEnum):
    MESSAGES = "messages"
    BYTES = "bytes"
    REPORTS = "reports"
    EVENTS = "events"
    GREETINGS = "Hellos and Layouts"
    DEVICES = "devices that were not known"
    OTHERS = "lists, ledgers and fences"


class Limit(NamedTuple):
    """A token bucket."""

    per_s: float
    burst: float


NODE_LIMITS: dict[What, Limit] = {
    # Whatever is in them, each costs some 80 µs; a backlog of 1 MiB/s whose layout changes with each report has 1,600
    What.MESSAGES: Limit(2_048.0, 32_768.0),
    # 1 MiB/s of backlog, and readings; at first the evidence, which may be of 15 minutes and 20 readings a second
    What.BYTES: Limit(16.0 * 2**20, 512.0 * 2**20),
    # 20 a second live; a backlog has at most 4,096 under way, and a commit takes a second
    What.REPORTS: Limit(8_192.0, 32_768.0),
    What.EVENTS: Limit(1_024.0, 32_768.0),  # one a kind and device; a spool may bring those of days
    What.GREETINGS: Limit(32.0, 2_048.0),  # a Hello when devices change, and for each epoch of a long spool
    # Every new name is a row for good. Partitions that are cut anew have new ones: 112 on 16 boards.
    What.DEVICES: Limit(256 / 3600, 1_024.0),
    What.OTHERS: Limit(256.0, 8_192.0),  # one a device when its processes change
}

STREAMS_OF_ADDRESS = 16_384  # a whole site of 10,000 nodes may come from one address
NAMES_OF_CERTIFICATE = 64  # the nodes that one key speaks for, should it be stolen
HELLO_S = 10.0
"""A stream that says nothing for so long is not an agent's."""


class Pace:
    """What one node has left, over all its streams."""

    def __init__(self, now: float, limits: dict[What, Limit] | None = None) -> None:
        self._limits = limits or NODE_LIMITS
        self._left = {what: limit.burst for what, limit in self._limits.items()}
        self._at = dict.fromkeys(self._limits, now)

    def excess(self, message: pb.FromAgent, size: int, known: Callable[[str], bool], now: float) -> str:
        """Take what a message costs; why that is too much, "" when it is not. size: its bytes. known: whether a device
        is. now: monotonic seconds."""
        if fault := self._take(What.MESSAGES, 1, now) or self._take(What.BYTES, size, now):
            return fault
        match message.WhichOneof("kind"):
            case "reports":
                return self._take(What.REPORTS, len(message.reports.reports), now)
            case "events":
                return self._take(What.EVENTS, len(message.events.events), now)
            case "hello":
                named = {device.uuid for device in message.hello.devices}
            case "layout":
                named = {uuid for block in message.layout.blocks for uuid in block.devices}
            case _:
                return self._take(What.OTHERS, 1, now)
        strangers = sum(not known(uuid) for uuid in named)
        return self._take(What.GREETINGS, 1, now) or self._take(What.DEVICES, strangers, now)

    def _take(self, what: What, many: int, now: float) -> str:
        limit = self._limits[what]
        left = min(limit.burst, self._left[what] + (now - self._at[what]) * limit.per_s)
        self._at[what] = now
        if many > left:
            self._left[what] = left
            rate = f"{limit.per_s:,.0f}" if limit.per_s >= 10.0 else f"{limit.per_s:.3g}"
            return (
                f"{many:,} {what}, of which {left:,.0f} more are taken now; expected at most {limit.burst:,.0f} at "
                f"once and {rate} a second: is one agent too fast, or are several running as this node?"
            )
        self._left[what] = left - many
        return ""


class Guard:
    """All limits over all streams. known: whether the fleet has a device of this name; to be set by whoever knows."""

    def __init__(
        self, node_limits: dict[What, Limit] | None = None, streams_of_address: int = STREAMS_OF_ADDRESS
    ) -> None:
        self.known: Callable[[str], bool] = lambda uuid: True
        self._node_limits = node_limits
        self._streams_of_address = streams_of_address
        self.streams: Counter[str] = Counter()  # by address
        self._paces: dict[str, Pace] = {}

    def opened(self, address: str, identity: Identity | None) -> str:
        """A stream has begun; why it is one too many, "" when it is not."""
        self.streams[address] += 1
        if self.streams[address] > self._streams_of_address:
            return f"more than {self._streams_of_address} streams from {address}: is something there in a loop?"
        if identity is not None and len(identity.names) > NAMES_OF_CERTIFICATE:
            return (
                f"the certificate bears {len(identity.names)} names, expected no more than {NAMES_OF_CERTIFICATE}: "
                f"give each node its own"
            )
        return ""

    def ended(self, address: str) -> None:
        self.streams[address] -= 1
        if not self.streams[address]:
            del self.streams[address]

    def excess(self, node: str, message: pb.FromAgent, size: int, now: float) -> str:
        """As Pace.excess, of a node."""
        pace = self._paces.get(node)
        if pace is None:
            pace = self._paces[node] = Pace(now, self._node_limits)
        return pace.excess(message, size, self.known, now)
