"""Whether a request fits the fleet as it is now, and which devices it would get."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fallow_collector.answers.completeness import incomplete
from fallow_collector.answers.numbers import milliseconds, rfc3339
from fallow_collector.api.query import BadQuery
from fallow_collector.fit.fit import Found, fit
from fallow_collector.fit.members import Directory
from fallow_collector.fit.offer import Offer, after, offer
from fallow_collector.fit.request import wrong
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.view import Snapshot, View
from fallow_proto import dispatch
from fallow_proto.states import Confidence


class _OnOffer(NamedTuple):
    offer: Offer
    missing: dict[str, int]


class Fitter:
    """Keeps the offer of each class and choice of sites for as long as its snapshot is the newest."""

    def __init__(self, fleet: Fleet, view: View) -> None:
        self._fleet = fleet
        self._view = view
        self.directory = Directory(fleet)
        self._snapshot: Snapshot | None = None
        self._offers: dict[tuple[str, tuple[str, ...]], _OnOffer] = {}

    def fit(self, request: dispatch.Request, sites: Sequence[str] = ()) -> dispatch.Fit:
        """Over the devices of every ledger. sites: of which devices are looked at, empty: all. Raises BadQuery."""
        return self._find(request, sites, own_only=False)[1]

    def choose(self, request: dispatch.Request, sites: Sequence[str] = ()) -> tuple[list[int], dispatch.Fit]:
        """Rows of devices that are Fallow's own to hand out, none if they do not fit. Raises BadQuery."""
        return self._find(request, sites, own_only=True)

    def _find(
        self, request: dispatch.Request, sites: Sequence[str], own_only: bool
    ) -> tuple[list[int], dispatch.Fit]:
        if problem := wrong(request):
            raise BadQuery(problem)
        snapshot = self._view.now()
        on_offer, missing = self._offer(snapshot, request.device_class, tuple(sites))
        found = fit(after(on_offer, self._fleet.owned(on_offer.rows)), request, own_only)
        rows = on_offer.rows[found.chosen].tolist()
        return rows, dispatch.Fit(
            fits=bool(rows),
            placement=self._placement(on_offer, found) if rows else None,
            eligible=found.eligible,
            largest=found.largest,
            short=[
                dispatch.Shortfall(
                    reason=short.reason, devices=short.devices, of=len(on_offer.rows),
                    example=self._fleet.identities[on_offer.rows[short.example]].uuid,
                )
                for short in found.short
            ],
            nearest=found.nearest,
            as_of=rfc3339(snapshot.as_of), epoch=self._view.epoch, revision=snapshot.revision,
            complete=not missing, incomplete_by=missing,
        )

    def _offer(self, snapshot: Snapshot, device_class: str, sites: tuple[str, ...]) -> _OnOffer:
        if snapshot is not self._snapshot:
            self._snapshot, self._offers = snapshot, {}
        found = self._offers.get((device_class, sites))
        if found is None:
            made = offer(self._fleet, self.directory.members(), snapshot, device_class, sites)
            missing = incomplete(self._fleet, snapshot.assessment.freshness[made.rows])
            found = self._offers[device_class, sites] = _OnOffer(made, missing)
        return found

    def _placement(self, on_offer: Offer, found: Found) -> dispatch.Placement:
        chosen = found.chosen
        devices = [self._member(row) for row in on_offer.rows[chosen].tolist()]
        low = bool(on_offer.low[chosen].any())
        return dispatch.Placement(
            devices=sorted(devices, key=_in_order),
            nodes=len(np.unique(on_offer.node[chosen])),
            sites=sorted({on_offer.groups[group].site for group in np.unique(on_offer.group[chosen]).tolist()}),
            max_age_ms=milliseconds(float(on_offer.age_s[chosen].max())) or 0,
            confidence=str(Confidence.LOW if low else Confidence.HIGH),
            ledgers=[self._fleet.ledgers[ledger] for ledger in np.unique(on_offer.ledger[chosen]).tolist()],
        )

    def _member(self, row: int) -> dispatch.Member:
        identity = self._fleet.identities[row]
        return dispatch.Member(
            uuid=identity.uuid, node=self._fleet.nodes[self._fleet.owner[row]].name, index=identity.index,
            pci_bus_id=identity.pci_bus_id or None,
        )


def _in_order(member: dispatch.Member) -> tuple[str, int, str]:
    return member.node, -1 if member.index is None else member.index, member.uuid
