"""The parts of a collector that dispatchers talk to, in memory over the small fleet of tests.collector.api.memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from fallow_collector.api.answers import Where
from fallow_collector.api.app import make_app
from fallow_collector.api.caller import ANYBODY, Caller
from fallow_collector.api.cordons import Filter
from fallow_collector.cordons.wanted import Wanted
from fallow_collector.faulted import Faulted
from fallow_proto import api
from fallow_proto.dispatch import (
    Change,
    Claim,
    Cordon,
    CordonResult,
    Fault,
    Fit,
    Lease,
    LedgerState,
    Member,
    Miss,
    Placement,
    Request,
    Reserve,
    Shortfall,
    Watched,
)
from tests.collector.api.memory import AS_OF, SINCE, MemoryAnswers


def member(one: api.Device) -> Member:
    return Member(uuid=one.uuid, node=one.node, index=one.index, pci_bus_id=one.pci_bus_id)


@dataclass
class MemoryFit:
    """Fits by class and vendor only, the first by uuid."""

    answers: MemoryAnswers
    epoch: str = "b7c1"
    ledgers: tuple[str, ...] = ("fallow",)

    def idle(self, request: Request) -> list[api.Device]:
        return [
            one for one in self.answers.members
            if one.phase == "idle" and one.confidence == "high" and one.device_class == request.device_class
            and (not request.vendor or one.vendor in request.vendor)
        ]

    def fit(self, request: Request, sites: Sequence[str] = ()) -> Fit:
        found = self.idle(request)
        fits = len(found) >= request.count
        taken = found[:request.count]
        of = sum(one.device_class == request.device_class for one in self.answers.members)
        placement = Placement(
            devices=[member(one) for one in taken], nodes=len({one.node for one in taken}),
            sites=sorted({one.site for one in taken}), max_age_ms=400, confidence="high", ledgers=list(self.ledgers),
        )
        return Fit(
            fits=fits, placement=placement if fits else None, eligible=len(found), largest=len(found),
            short=[
                Shortfall(reason="vendor", devices=4, of=of, example="NPU-0a5ce4d0-0910"),
                Shortfall(reason="unmanaged", devices=1, of=of, example="GPU-60c0ffee-1111-2222-3333-444444444446"),
            ],
            nearest=[] if fits else [
                Miss(relax="count", asked=str(request.count), fits_at=str(len(found)), then=len(found)),
                Miss(relax="vendor", asked=",".join(request.vendor), fits_at=None, then=0),
            ],
            as_of=AS_OF, epoch=self.epoch, revision=42, complete=False, incomplete_by={"absent": 1},
        )


@dataclass
class MemoryLeases:
    """Leases with a TTL by the clock of the test machine; what it was asked is kept for the test to look at."""

    fit: MemoryFit
    held: dict[str, Lease] = field(default_factory=dict)
    over_at: dict[str, float] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    renewals: int = 0
    outcomes: list[str] = field(default_factory=list)
    token: int = 1772366400000
    longest_ttl_s: float = 86_400.0

    async def reserve(self, wanted: Reserve, caller: str, sites: Sequence[str] = ()) -> Lease:
        if wanted.key in self.keys:
            return self.lease(self.keys[wanted.key])
        if wanted.request is None:
            members = [member(self.fit.answers.device(uuid).device) for uuid in wanted.devices]
        else:
            found = self.fit.fit(wanted.request)
            if found.placement is None:
                raise Faulted(Fault.NO_CAPACITY, f"{found.largest} of {wanted.request.count} devices are idle")
            members = found.placement.devices
        taken = {one.uuid for one in members}
        for one in self.fit.answers.members:
            if one.uuid in taken:
                one.phase = "leased"
        self.token += 1
        lease = Lease(
            lease_id=f"L{len(self.held) + 1}", holder=wanted.holder, fencing_token=self.token,
            state="reserved" if wanted.hold else "leased", ttl_s=min(wanted.ttl_s or 300.0, self.longest_ttl_s),
            expires_in_s=0.0, since=SINCE, fenced=not wanted.hold, devices=members,
        )
        self.held[lease.lease_id] = lease
        self.keys[wanted.key] = lease.lease_id
        return self._renewed(lease)

    async def commit(self, lease_id: str, claim: Claim, caller: str) -> Lease:
        lease = self._claimed(lease_id, claim)
        if lease.state != "reserved":
            raise Faulted(Fault.NOT_RESERVED, f"lease {lease_id} is {lease.state}; expected a reserved one")
        lease.state, lease.fenced = "leased", True
        return self._renewed(lease)

    async def renew(self, lease_id: str, claim: Claim, caller: str) -> Lease:
        lease = self._claimed(lease_id, claim)
        lease.ttl_s = claim.ttl_s or lease.ttl_s
        self.renewals += 1
        return self._renewed(lease)

    async def settle(self) -> None:
        """There is no disk."""

    async def release(self, lease_id: str, claim: Claim, caller: str) -> Lease:
        lease = self._claimed(lease_id, claim)
        lease.state, lease.expires_in_s = "releasing", None
        self.outcomes.append(claim.outcome)
        return lease

    def lease(self, lease_id: str, asking: Caller = ANYBODY) -> Lease:
        if lease_id not in self.held:
            raise Faulted(Fault.LEASE_NOT_FOUND, f"there is no lease {lease_id}; fallow leases lists those there are")
        lease = self.held[lease_id]
        if lease.expires_in_s is not None:
            lease.expires_in_s = self.over_at[lease_id] - time.monotonic()
        return lease

    def leases(
        self, holder: list[str], limit: int, cursor: str | None, asking: Caller = ANYBODY
    ) -> api.Page[Lease]:
        found = [one for one in self.held.values() if not holder or one.holder in holder]
        return api.Page(items=found[:limit], next=None, as_of=AS_OF, complete=True)

    def end(self, lease_id: str) -> None:
        """As when it has run out."""
        self.held[lease_id].state = "releasing"

    def _claimed(self, lease_id: str, claim: Claim) -> Lease:
        lease = self.lease(lease_id)
        if claim.fencing_token != lease.fencing_token:
            raise Faulted(Fault.TOKEN_FOREIGN, f"token {claim.fencing_token} is not that of lease {lease_id}")
        if claim.holder != lease.holder:
            raise Faulted(Fault.NOT_HOLDER, f"lease {lease_id} is held by {lease.holder}, not by {claim.holder}")
        if lease.state == "releasing":
            raise Faulted(Fault.LEASE_ENDED, f"lease {lease_id} has ended")
        return lease

    def _renewed(self, lease: Lease) -> Lease:
        self.over_at[lease.lease_id] = time.monotonic() + lease.ttl_s
        lease.expires_in_s = lease.ttl_s
        return lease


@dataclass
class MemoryCordons:
    """Implements api.cordons.CordonDesk."""

    answers: MemoryAnswers
    standing: list[Cordon] = field(default_factory=list)

    async def put(self, wanted: Wanted, dry_run: bool) -> CordonResult:
        targets = [(uuid, None) for uuid in wanted.devices] + [(None, node) for node in wanted.nodes]
        first = len(self.standing) + 1
        made = [
            Cordon(
                cordon_id=f"C{first + n}", kind=str(wanted.kind), owner=wanted.owner, reason=wanted.reason,
                device=uuid, node=node, since=SINCE, starts=_rfc3339(wanted.start), expires_in_s=wanted.for_s or None,
                ends=_rfc3339(wanted.end), active=wanted.start is None,
            )
            for n, (uuid, node) in enumerate(targets)
        ]
        affected = [
            one for one in self.answers.members if one.uuid in wanted.devices or one.node in wanted.nodes
        ]
        if not dry_run:
            self.standing += made
        return CordonResult(
            cordons=[] if dry_run else made, affected=[one.uuid for one in affected],
            leased=[one.uuid for one in affected if one.phase == "leased"],
        )

    async def lift(self, cordon_id: str, owner: str, sites: Sequence[str] = ()) -> None:
        for one in self.standing:
            if one.cordon_id == cordon_id:
                if owner != one.owner:
                    raise Faulted(Fault.NOT_OWNER, f"cordon {cordon_id} is of {one.owner}; only its owner lifts it")
                self.standing.remove(one)
                return
        raise Faulted(Fault.CORDON_NOT_FOUND, f"there is no cordon {cordon_id}")

    def listed(self, which: Filter, limit: int, cursor: str | None) -> api.Page[Cordon]:
        found = [one for one in self.standing if not which.owner or one.owner == which.owner]
        found = [one for one in found if one.cordon_id > (cursor or "")]
        more = found[limit - 1].cordon_id if len(found) > limit else None
        return api.Page(items=found[:limit], next=more, as_of=AS_OF, complete=True)


def _rfc3339(unix_s: float | None) -> str | None:
    return None if unix_s is None else time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(unix_s))


class MemoryLedgers:
    """What api.ledgers lists."""

    def __init__(self) -> None:
        self.states: list[LedgerState] = []

    def ledgers(self) -> list[LedgerState]:
        return self.states


class ScriptedWatches:
    """Implements api.watch.Watches: each connection is told what the script has for it, the last one stays open."""

    def __init__(self) -> None:
        self.script: list[list[bytes]] = []
        self.resumed: list[tuple[str, int] | None] = []

    def join(self, where: Where, resume: tuple[str, int] | None, who: str = "") -> AsyncIterator[bytes]:
        self.resumed.append(resume)
        return self._told(self.script.pop(0), stay=not self.script)

    async def _told(self, chunks: list[bytes], stay: bool) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
        while stay:
            await asyncio.sleep(0.05)
            yield b": here\n\n"


class Lossy:
    """An application whose answers to some posts are lost on the way, each as the next of `losses` says.

    "answer": the collector did it, and the connection breaks. "all": the connection breaks before anything is done.
    "hang": nothing is done, and nothing comes until the client goes. "": nothing is lost.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.losses: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        posting = scope["type"] == ScopeType.HTTP and scope["method"] == "POST"
        loss = self.losses.pop(0) if posting and self.losses else ""
        match loss:
            case "":
                await self._app(scope, receive, send)
                return
            case "answer":
                await self._app(scope, receive, _swallow)
            case "hang":
                while (await receive())["type"] != "http.disconnect":
                    pass
                return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})


async def _swallow(message: Message) -> None:
    """What a broken connection does with an answer."""


class Dispatching:
    """All parts together, and the application over them."""

    def __init__(self) -> None:
        self.answers = MemoryAnswers()
        self.fit = MemoryFit(self.answers)
        self.leases = MemoryLeases(self.fit)
        self.cordons = MemoryCordons(self.answers)
        self.ledgers = MemoryLedgers()
        self.watches = ScriptedWatches()
        self.losses: list[str] = []

    def app(self) -> ASGIApp:
        lossy = Lossy(make_app(
            self.answers, None, "0.0.0", fit=self.fit, leases=self.leases, cordons=self.cordons, ledgers=self.ledgers,
            watches=self.watches,
        ))
        lossy.losses = self.losses
        return lossy


def told(kind: str, revision: int, device: Watched | None = None, *, last: bool = True, **more: object) -> bytes:
    """A server-sent event as the collector writes it."""
    change = Change(kind=kind, epoch="b7c1", revision=revision, as_of=AS_OF, device=device, **more)  # type: ignore[arg-type]
    resumes = f"id: b7c1:{revision}\n".encode() if last else b""
    if kind == "resync":
        resumes = b"id:\n"
    return b"%sevent: %s\ndata: %s\n\n" % (resumes, kind.encode(), msgspec.json.encode(change))


def watched(uuid: str, phase: str = "idle") -> Watched:
    return Watched(
        uuid=uuid, node="gpu-01", site="north", vendor="nvidia", model="H100", device_class="intelligent", phase=phase,
        freshness="live", health="ok", occupancy="confirmed", allocation="free", service="in_service", ledger="fallow",
        confidence="high", reasons=[], since=SINCE, lease_id=None,
    )
