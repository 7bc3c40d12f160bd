"""A device as what it is to its clients: a register that says who owns it, by the fencing token of a lease. Pure.

Whoever takes it must find it free, and comes with a higher token than all before. Unless its owner lets go it stays
theirs until time has passed, and from then on is never theirs again.
"""

from enum import Enum, auto
from typing import NamedTuple


class Owned(Enum):
    FREE = auto()
    RESERVED = auto()
    LEASED = auto()
    RELEASING = auto()


HELD = frozenset({Owned.RESERVED, Owned.LEASED})


class Register(NamedTuple):
    """token: of whoever owns the device, or did last."""

    token: int = 0
    owned: Owned = Owned.FREE


class Kind(Enum):
    RESERVED = auto()
    LEASED = auto()
    COMMITTED = auto()
    KEPT = auto()  # it was theirs: renewed, or shown to be by the answer to a key that came again
    RELEASED = auto()
    RELEASED_WITH_OTHERS = auto()  # of a lease of several devices, of which each becomes free on its own
    EXPIRED = auto()
    REFUSED_AS_ENDED = auto()
    REFUSED_AS_COMMITTED = auto()
    SEEN_FREE = auto()
    SEEN_RESERVED = auto()
    SEEN_LEASED = auto()
    SEEN_RELEASING = auto()


_SEEN = {
    Kind.SEEN_FREE: Owned.FREE, Kind.SEEN_RESERVED: Owned.RESERVED, Kind.SEEN_LEASED: Owned.LEASED,
    Kind.SEEN_RELEASING: Owned.RELEASING,
}
TAKING = {Kind.RESERVED: Owned.RESERVED, Kind.LEASED: Owned.LEASED}


def after(register: Register, kind: Kind, token: int) -> Register | None:
    """What it becomes by something that happened to the lease with this token; None: that cannot happen to it."""
    is_theirs = register.token == token
    match kind:
        case Kind.RESERVED | Kind.LEASED:
            is_possible = register.owned is Owned.FREE and token > register.token
            return Register(token, TAKING[kind]) if is_possible else None
        case Kind.COMMITTED:
            return Register(token, Owned.LEASED) if is_theirs and register.owned is Owned.RESERVED else None
        case Kind.KEPT:
            return register if is_theirs and register.owned in HELD else None
        case Kind.EXPIRED:
            return Register(token, Owned.RELEASING) if is_theirs and register.owned in HELD else None
        case Kind.RELEASED:
            return Register(token, Owned.RELEASING) if is_theirs and register.owned is not Owned.FREE else None
        case Kind.RELEASED_WITH_OTHERS:
            if is_theirs and register.owned is not Owned.FREE:
                return Register(token, Owned.RELEASING)
            return register if register.token >= token else None
        case Kind.REFUSED_AS_ENDED:
            is_over = register.owned not in HELD if is_theirs else register.token > token
            return register if is_over else None
        case Kind.REFUSED_AS_COMMITTED:
            return register if is_theirs and register.owned is Owned.LEASED else None
        case Kind.SEEN_FREE:
            return register if register.owned is Owned.FREE else None
        case _:
            return register if is_theirs and register.owned is _SEEN[kind] else None


def freed(register: Register) -> Register | None:
    """After it was seen clean, which happens at a moment that nobody is told."""
    return Register(register.token, Owned.FREE) if register.owned is Owned.RELEASING else None
