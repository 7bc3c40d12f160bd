"""How long a lease may be believed, and when to renew it. Pure: `now` is seconds of `clock()`.

The collector's TTL begins when it decides, which is never before it was asked. So a lease counts from the moment before
the call was sent: what the holder believes ends before what the collector believes, however long the answer took.
"""

import time
from typing import NamedTuple

from fallow_client.errors import FallowError, LeaseLost, Refused
from fallow_proto.dispatch import Fault, Lease

RENEWALS = 3  # in one TTL, so that two may fail
RETRIES = 15  # in one TTL, once a renewal has failed
ENDED = frozenset({
    Fault.LEASE_NOT_FOUND, Fault.LEASE_ENDED, Fault.NOT_HOLDER, Fault.TOKEN_STALE, Fault.TOKEN_FOREIGN, Fault.FENCED,
})
"""Refusals after which no renewal can succeed."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Seconds that go on while this machine is suspended, as the collector's TTL does."""
    return time.clock_gettime(_CLOCK)


class Term(NamedTuple):
    """What is believed of a lease."""

    ttl_s: float
    renew_at: float
    over_at: float  # from here on the devices may be somebody else's

    def retried(self, now: float) -> "Term":
        """After a renewal that got no answer: again soon, as often as there is time for."""
        return self._replace(renew_at=min(now + self.ttl_s / RETRIES, self.over_at))


def term(lease: Lease, asked_at: float) -> Term:
    """Of a lease as the collector described it to a call that was sent at `asked_at`. Raises LeaseLost."""
    if lease.expires_in_s is None:
        raise LeaseLost(f"lease {lease.lease_id} is {lease.state}: it has been released or has run out")
    return Term(lease.ttl_s, asked_at + lease.expires_in_s / RENEWALS, asked_at + lease.expires_in_s)


def ends(error: FallowError) -> bool:
    """Whether a failed renewal says that the lease is over; else trying again makes sense until its term is."""
    return isinstance(error, LeaseLost) or (isinstance(error, Refused) and error.code in ENDED)


def lost(lease_id: str, error: FallowError | None) -> LeaseLost:
    """Why a lease is not to be believed any more."""
    why = "it could not be renewed in time" if error is None else str(error)
    return LeaseLost(f"lease {lease_id} is lost: {why}; its devices may be somebody else's, stop what runs on them")
