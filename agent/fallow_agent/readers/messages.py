"""What the agent and a reader's process say to each other: one packet a message, MessagePack of plain tuples.

The socket keeps message borders (SOCK_SEQPACKET), so that half a message cannot occur, not even from a process that
dies while it speaks.
"""

import msgspec

from fallow_agent.happening import Happening
from fallow_agent.readers.reader import DeviceIdentity, Reading
from fallow_proto.metrics import Group

MAX_BYTES = 1 << 18
"""A packet is never larger: 208 KiB is what a kernel allows by default, 100 KiB what 6,400 processes take."""


class Birth(msgspec.Struct, frozen=True, array_like=True):
    """To the zygote, with the child's end of its socket."""

    name: str
    target: str  # "module:Class"
    lock_path: str


class Ask(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    groups: tuple[Group, ...]


class Close(msgspec.Struct, frozen=True, array_like=True, tag="close"):
    """Let go of the devices and end."""


class Opened(msgspec.Struct, frozen=True, array_like=True, tag="opened"):
    """The devices there are, and the metrics that may come in each group."""

    devices: tuple[DeviceIdentity, ...]
    columns: dict[Group, tuple[str, ...]]


class Read(msgspec.Struct, frozen=True, array_like=True, tag="read"):
    readings: dict[Group, tuple[Reading, ...]]


class Happened(msgspec.Struct, frozen=True, array_like=True, tag="happened"):
    """What the devices' driver told unasked: it may come at any time, also while a read hangs."""

    happenings: tuple[Happening, ...]


# Each of the following is a child's last words: it ends after them.
class Absent(msgspec.Struct, frozen=True, array_like=True, tag="absent"):
    message: str


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    message: str
    reason: int  # Reason of the wire


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="ended"):
    """In good order: it was told to, or devices or driver changed, and a fresh process will name the new ones."""


class Held(msgspec.Struct, frozen=True, array_like=True, tag="held"):
    """Another process holds the lock: it may be stuck in the driver, so this one did not touch it."""

    pid: int  # 0: not known


class Exited(msgspec.Struct, frozen=True, array_like=True, tag="exited"):
    """From the zygote, after the child's own words."""

    code: int  # exit status, or minus the signal's number


ToChild = Ask | Close
FromChild = Opened | Read | Happened | Absent | Failed | Ended | Held | Exited

encode = msgspec.msgpack.Encoder().encode
decode_birth = msgspec.msgpack.Decoder(Birth).decode
decode_to_child = msgspec.msgpack.Decoder(ToChild).decode
decode_from_child = msgspec.msgpack.Decoder(FromChild).decode
