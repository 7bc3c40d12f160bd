"""The one total table of what may become of a lease: its state and a command give its next state, or the refusal.

The devices of a lease share its state until it is released or expires. From then on each ends on its own, when a
reading shows that its holder has left it, and the lease ends with the last of them.
"""

from enum import StrEnum
from typing import NamedTuple

from fallow_proto.dispatch import Fault


class State(StrEnum):
    RESERVED = "reserved"
    LEASED = "leased"
    RELEASING = "releasing"
    ENDED = "ended"


class Command(StrEnum):
    # What holders ask
    RESERVE = "reserve"  # of a lease that there is: the same request with the same key again
    COMMIT = "commit"
    RENEW = "renew"
    RELEASE = "release"
    # What happens
    EXPIRE = "expire"
    FENCED_HIGHER = "fenced_higher"  # its node keeps a higher token than its own
    UNKEPT = "unkept"  # the disk did not take the decision that gave the devices away
    CLEAN = "clean"  # a device was seen quiet and clean
    STUCK = "stuck"  # a device has been seen in use for release_stuck_s
    RETIRED = "retired"  # a device that is not there any more, an operator says


class Row(NamedTuple):
    """What a command leads to when there is no such lease, and from each state."""

    command: Command
    none: State | Fault
    reserved: State | Fault
    leased: State | Fault
    releasing: State | Fault
    ended: State | Fault


_R, _L, _S, _E = State
_NONE, _OVER, _TWICE = Fault.LEASE_NOT_FOUND, Fault.LEASE_ENDED, Fault.NOT_RESERVED

TABLE: tuple[Row, ...] = (
    #   command                none   reserved leased  releasing ended
    Row(Command.RESERVE,       _R,    _R,      _L,     _OVER,    _OVER),
    Row(Command.COMMIT,        _NONE, _L,      _TWICE, _OVER,    _OVER),
    Row(Command.RENEW,         _NONE, _R,      _L,     _OVER,    _OVER),
    # Once more does no harm: the reply to the first may have been lost.
    Row(Command.RELEASE,       _NONE, _S,      _S,     _S,       _OVER),
    Row(Command.EXPIRE,        _NONE, _S,      _S,     _S,       _E),
    Row(Command.FENCED_HIGHER, _NONE, _S,      _S,     _S,       _E),
    Row(Command.UNKEPT,        _NONE, _S,      _S,     _S,       _E),
    # Nothing that is seen of a device takes it from its holder.
    Row(Command.CLEAN,         _NONE, _R,      _L,     _E,       _E),
    Row(Command.STUCK,         _NONE, _R,      _L,     _E,       _E),
    Row(Command.RETIRED,       _NONE, _R,      _L,     _E,       _E),
)

_ROWS = {row.command: row for row in TABLE}


def after(state: State | None, command: Command) -> State | Fault:
    """Where a command leads from a state; None: there is no such lease."""
    found: State | Fault = getattr(_ROWS[command], "none" if state is None else state.value)
    return found
