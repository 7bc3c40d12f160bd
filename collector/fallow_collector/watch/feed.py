"""What each watcher is told next: it is at a revision, and hears of what matched then or matches now. No I/O."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count, islice

import numpy as np

from fallow_collector.answers.completeness import incomplete
from fallow_collector.answers.numbers import milliseconds, rfc3339
from fallow_collector.api.answers import Where
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.view import FREE, Snapshot, View
from fallow_collector.watch.events import Encoder, event
from fallow_collector.watch.log import Delta, Log
from fallow_collector.watch.matching import Filter
from fallow_collector.watch.shown import records
from fallow_proto.dispatch import Change

CHUNK = 200
"""Events that are made at once, in some 2 ms, before others have their turn."""

SHARED = 5_000
"""Changes of a revision that are kept for the next watcher: a micro-batch of the largest fleet, of 2.5 MB. Watchers who
lag are each somewhere else."""


class Feed:
    """What all watchers share: follows a view from its making on. lease_of: the id of a row's lease."""

    def __init__(
        self, fleet: Fleet, view: View, lease_of: Callable[[int], str | None] = lambda row: None
    ) -> None:
        self.fleet = fleet
        self.view = view
        self.log = Log(view.revision)
        self.encoder = Encoder(fleet)
        self._lease_of = lease_of
        self._leases: dict[int, str | None] = {}
        self._ready: dict[Where, tuple[list[bytes], Iterator[bytes]]] = {}  # of watchers who are told the same
        self._ready_for = -1
        view.follow(self._take)

    def _take(self, snapshot: Snapshot) -> None:
        if not len(snapshot.changed):
            return
        after = records(snapshot.shown, snapshot.changed)
        owned = snapshot.changed[after["allocation"] != FREE].tolist()
        leases = {row: self._lease_of(row) for row in owned}
        self._leases.update(leases)
        self.log.append(
            Delta(snapshot.revision, snapshot.as_of, snapshot.changed, snapshot.before, after, leases)
        )

    def leases(self) -> dict[int, str | None]:
        """By row, at the newest revision; of rows that are free it may hold old ones."""
        return dict(self._leases)

    def told(self, where: Where, making: Iterator[bytes]) -> Iterator[bytes]:
        """The newest revision for these filters, each chunk made once for all who are told it."""
        if self._ready_for != self.log.newest:
            self._ready_for = self.log.newest
            self._ready.clear()
        made, making = self._ready.setdefault(where, ([], making))
        for at in count():
            if at == len(made):
                made += islice(making, 1)
            if at == len(made):
                return
            yield made[at]


class Watcher:
    """One who watches. revision: all up to it has been told; None: nothing, not even the list."""

    def __init__(self, feed: Feed, where: Where, revision: int | None) -> None:
        self.revision = revision
        self._feed = feed
        self._where = where
        self._filter = Filter(feed.fleet, where)

    @property
    def lost(self) -> bool:
        """What comes after its revision is not known any more: it has to list again."""
        return self.revision is not None and not self._feed.log.covers(self.revision)

    def news(self) -> Iterator[bytes]:
        """What it is to be told now: first the list, then what changed."""
        return self._listing() if self.revision is None else self._changes(self.revision)

    def bookmark(self, snapshot: Snapshot) -> bytes:
        """That it has been told all up to its revision, and how far what it asked for can be trusted. snapshot: the
        newest. The first bookmark ends the list."""
        assert self.revision is not None, "nothing was told yet"
        ages = snapshot.age_s[self._filter(snapshot.shown)]
        missing = incomplete(self._feed.fleet, snapshot.assessment.freshness[snapshot.counted])
        return event(
            Change(
                kind="bookmark", epoch=self._feed.view.epoch, revision=self.revision, as_of=rfc3339(snapshot.as_of),
                complete=not missing, max_age_ms=milliseconds(float(ages.max())) if len(ages) else None,
            ),
            last=True,
        )

    def resync(self) -> bytes:
        """That there is a gap; the stream ends."""
        view = self._feed.view
        snapshot = view.now()
        change = Change(kind="resync", epoch=view.epoch, revision=snapshot.revision, as_of=rfc3339(snapshot.as_of))
        return event(change, last=True)

    def _listing(self) -> Iterator[bytes]:
        snapshot = self._feed.view.now()
        rows = np.flatnonzero(self._filter(snapshot.shown))
        shown, leases, as_of = records(snapshot.shown, rows), self._feed.leases(), rfc3339(snapshot.as_of)
        for start in range(0, len(rows), CHUNK):
            yield b"".join(
                self._event("added", snapshot.revision, as_of, int(rows[at]), shown[at], leases, last=False)
                for at in range(start, min(start + CHUNK, len(rows)))
            )
        self.revision = snapshot.revision

    def _changes(self, revision: int) -> Iterator[bytes]:
        """Coalesced to the newest state of each device."""
        delta = self._feed.log.since(revision)
        if delta is None:
            return
        telling = self._tell(delta)
        if delta.revision - revision == 1 and len(delta.rows) <= SHARED:
            telling = self._feed.told(self._where, telling)
        yield from telling
        self.revision = delta.revision

    def _tell(self, delta: Delta) -> Iterator[bytes]:
        matched, matches = self._filter(delta.before), self._filter(delta.after)
        told = np.flatnonzero(matched | matches)
        kinds = np.where(~matches, "deleted", np.where(matched, "modified", "added"))[told].tolist()
        rows, shown, as_of = delta.rows[told].tolist(), delta.after[told], rfc3339(delta.as_of)
        for start in range(0, len(rows), CHUNK):
            yield b"".join(
                self._event(
                    kinds[at], delta.revision, as_of, rows[at], shown[at], delta.leases, last=at == len(rows) - 1
                )
                for at in range(start, min(start + CHUNK, len(rows)))
            )

    def _event(
        self, kind: str, revision: int, as_of: str, row: int, record: np.void, leases: Mapping[int, str | None],
        last: bool,
    ) -> bytes:
        lease_id = leases.get(row) if record["allocation"] != FREE else None
        device = self._feed.encoder.device(row, record, lease_id)
        epoch = self._feed.view.epoch
        return event(Change(kind=kind, epoch=epoch, revision=revision, as_of=as_of, device=device), last)
