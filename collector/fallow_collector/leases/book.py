"""All leases that there are, found by id, by device and by idempotency key, and in the order in which they run out."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from heapq import heappop, heappush
from math import inf

from fallow_collector.leases.lease import Claimant, Lease
from fallow_collector.leases.table import State

REMEMBERED_S = 600.0
"""How long a lease that has ended is remembered: for whoever comes late, and for keys that come again."""


class Book:
    def __init__(self, leases: Iterable[Lease] = ()) -> None:
        self._leases: dict[str, Lease] = {}
        self._of_device: dict[str, str] = {}
        self._of_key: dict[tuple[Claimant, str], str] = {}
        self._due: list[tuple[float, str]] = []
        for lease in leases:
            self.put(lease)

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._leases.values())

    def get(self, lease_id: str) -> Lease | None:
        return self._leases.get(lease_id)

    def of_device(self, uuid: str) -> Lease | None:
        """The one lease that has the device and has not ended for it."""
        lease_id = self._of_device.get(uuid)
        return None if lease_id is None else self._leases[lease_id]

    def of_key(self, claimant: Claimant, key: str) -> Lease | None:
        lease_id = self._of_key.get((claimant, key))
        return None if lease_id is None else self._leases[lease_id]

    def put(self, lease: Lease) -> Lease:
        """Add it, or take it in place of what it was."""
        before = self._leases.get(lease.lease_id)
        self._leases[lease.lease_id] = lease
        if before is not None:
            for uuid in before.open - lease.open:
                del self._of_device[uuid]
        for uuid in lease.open if before is None else lease.open - before.open:
            other = self._of_device.setdefault(uuid, lease.lease_id)
            if other != lease.lease_id:
                raise AssertionError(f"BUG: {uuid} is of lease {other} already, and was to be of {lease.lease_id}")
        if before is not None and before.key != lease.key:
            self._of_key.pop((before.claimant, before.key), None)
        if lease.key:
            self._of_key[lease.claimant, lease.key] = lease.lease_id
        if lease.until != inf and (before is None or lease.until < before.until):
            heappush(self._due, (lease.until, lease.lease_id))
        return lease

    def due(self, now: float) -> Iterator[Lease]:
        """Leases whose time has come, each once; whoever asks moves them on."""
        while self._due and self._due[0][0] <= now:
            _, lease_id = heappop(self._due)
            lease = self._leases.get(lease_id)
            if lease is None:
                continue
            if lease.until <= now:
                yield lease
            elif lease.until != inf:  # it was prolonged
                heappush(self._due, (lease.until, lease_id))

    def pause(self, seconds: float) -> None:
        """Time that does not count: all times come so much later."""
        self._leases = {
            lease_id: replace(lease, until=lease.until + seconds, began=lease.began + seconds)
            for lease_id, lease in self._leases.items()
        }
        self._due = [(until + seconds, lease_id) for until, lease_id in self._due]

    def forget(self, lease: Lease) -> None:
        """One that has ended."""
        assert lease.state is State.ENDED
        del self._leases[lease.lease_id]
        if self._of_key.get((lease.claimant, lease.key)) == lease.lease_id:
            del self._of_key[lease.claimant, lease.key]
