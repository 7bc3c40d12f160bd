"""How a reader is doing, in the words of the wire's Reader.state."""

from dataclasses import dataclass
from enum import StrEnum

from fallow_proto.v1 import telemetry_pb2 as pb


class State(StrEnum):
    OK = "ok"
    ABSENT = "absent"  # nothing of its vendor is on the node: not a fault
    FAILED = "failed"
    STUCK = "stuck"  # it did not answer within its deadline, and is waited for
    QUIESCED = "quiesced"  # it has let go of its devices for a while, as somebody asked


@dataclass(frozen=True, slots=True)
class Status:
    """`since` is on the clock of whoever drives the reader, in seconds. `reason` says why its numbers are not known."""

    name: str
    state: State
    since: float
    message: str = ""
    reason: pb.Reason.ValueType = pb.REASON_OK
