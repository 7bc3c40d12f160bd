"""Leases as the file keeps them. Times are seconds of the ledger's own clock, which counts only while the collector
runs: neither a jump of the wall clock nor the time that it was down moves an expiry.
"""

import json
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from fallow_collector.leases.lease import Claimant, Held, Lease
from fallow_collector.leases.table import State


class LeaseRow(NamedTuple):
    """Field names are column names."""

    lease_id: str
    caller: str
    holder: str
    token: int
    state: str
    ttl_s: float
    until: float | None  # None: never
    made: float  # unix seconds
    began: float | None  # None: not committed
    devices: str  # JSON: [[uuid, node, whether it is still its], …]
    short: int
    why: str
    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class Clock:
    """The ledger's clock: `origin` is where the monotonic one stood when it showed 0."""

    origin: float

    @classmethod
    def resumed(cls, shown: float, now: float) -> "Clock":
        """From what it showed when it was kept last."""
        return cls(now - shown)

    def paused(self, seconds: float) -> "Clock":
        """It has stood still for so long."""
        return Clock(self.origin + seconds)

    def shows(self, now: float) -> float:
        return now - self.origin

    def row_of(self, lease: Lease) -> LeaseRow:
        return LeaseRow(
            lease_id=lease.lease_id, caller=lease.claimant.caller, holder=lease.claimant.holder, token=lease.token,
            state=str(lease.state), ttl_s=lease.ttl_s, until=None if lease.until == inf else self.shows(lease.until),
            made=lease.made, began=self.shows(lease.began) if lease.was_committed else None,
            devices=json.dumps([[held.uuid, held.node, held.uuid in lease.open] for held in lease.devices]),
            short=lease.short, why=lease.why, key=lease.key, digest=lease.digest,
        )

    def lease_of(self, row: LeaseRow) -> Lease:
        devices = json.loads(row.devices)
        return Lease(
            lease_id=row.lease_id, claimant=Claimant(row.caller, row.holder), token=row.token, state=State(row.state),
            ttl_s=row.ttl_s, until=inf if row.until is None else row.until + self.origin, made=row.made,
            began=-inf if row.began is None else row.began + self.origin,
            devices=tuple(Held(uuid, node) for uuid, node, _ in devices),
            open=frozenset(uuid for uuid, _, still in devices if still), short=bool(row.short), why=row.why,
            key=row.key, digest=row.digest,
        )
