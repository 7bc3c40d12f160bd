"""The client for asyncio: the same calls as Client, awaited."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TypeVar

import httpx

from fallow_client import calls, keeping, watching
from fallow_client.calls import EVERY_ALERT, EVERYTHING, Call, Where, Which
from fallow_client.connection import AGAIN_S, DEFAULT_URL, settings_for, unreachable
from fallow_client.errors import Unreachable
from fallow_client.following import Event
from fallow_client.held import Held, Outcome
from fallow_client.leasing import clock, term
from fallow_client.mirror import Mirror, mirrored_async
from fallow_proto import api
from fallow_proto.alerts import Alert, AlertReceiver, AlertRule, AlertTested, Silence, SilenceWanted
from fallow_proto.dispatch import (
    Claim,
    Cordon,
    CordonRequest,
    CordonResult,
    Fit,
    Lease,
    LedgerState,
    Request,
    Reserve,
)
from fallow_proto.quiescing import Quiesced, QuiesceRequest

Answer = TypeVar("Answer")


class AsyncClient:
    """Calls one collector; usable as an asynchronous context manager. Every call raises FallowError."""

    def __init__(self, url: str = DEFAULT_URL, token: str = "") -> None:
        self._url = url
        self._token = token
        self._http = httpx.AsyncClient(**settings_for(url))

    async def capacity(self, where: Where = EVERYTHING) -> api.Capacity:
        return await self.ask(calls.capacity(where))

    async def totals(
        self, where: Where = EVERYTHING, by: Iterable[str] = (), precision: str = "fp16"
    ) -> api.Totals:
        """Devices, memory and dense FLOPS; by: of api.TOTAL_KEYS, to which the class is always added."""
        return await self.ask(calls.totals(where, by, precision))

    async def devices(
        self, where: Where = EVERYTHING, limit: int | None = None, cursor: str | None = None
    ) -> api.Page[api.Device]:
        return await self.ask(calls.devices(where, limit, cursor))

    async def all_devices(self, where: Where = EVERYTHING) -> AsyncIterator[api.Device]:
        """Every device, page after page."""
        cursor: str | None = None
        while True:
            page = await self.devices(where, cursor=cursor)
            for one in page.items:
                yield one
            if (cursor := page.next) is None:
                return

    async def device(self, uuid: str) -> api.DeviceDetail:
        return await self.ask(calls.device(uuid))

    async def timeline(
        self, uuid: str, start: str = "-24h", end: str = "now", limit: int | None = None
    ) -> api.Page[api.Moment]:
        """Events, incidents and changes of phase of a device, newest first."""
        return await self.ask(calls.timeline(uuid, start, end, limit))

    async def explain(self, uuid: str) -> api.Explanation:
        return await self.ask(calls.explain(uuid))

    async def nodes(
        self, where: Where = EVERYTHING, limit: int | None = None, cursor: str | None = None
    ) -> api.Page[api.Node]:
        return await self.ask(calls.nodes(where, limit, cursor))

    async def history(
        self, uuid: str, columns: Iterable[str], start: str = "-1h", end: str = "now", step: str = "0"
    ) -> api.History:
        return await self.ask(calls.history(uuid, columns, start, end, step))

    async def declare(self, declared: Iterable[api.Declared]) -> api.DeclarationResult:
        return await self.ask(calls.declare(declared))

    async def retire(self, uuid: str) -> None:
        await self.ask(calls.retire(uuid))

    async def accept_baseline(self, uuid: str) -> api.Baseline:
        return await self.ask(calls.accept_baseline(uuid))

    async def fit(self, request: Request) -> Fit:
        """Whether and where devices that are idle now serve the request, and why others do not. Nothing is taken."""
        return await self.ask(calls.fit(request))

    async def reserve(
        self, request: Request | None = None, *, devices: Iterable[str] = (), holder: str = "", hold: bool = False,
        ttl_s: float = 0.0, key: str = "",
    ) -> Lease:
        """Take devices: those that serve the request, or these by uuid. Raises NoCapacity.

        hold: only reserve them; commit() must follow within the TTL. An answer that does not come is asked for again
        with the same idempotency key, so that no lease is left behind that nobody knows of.
        """
        wanted = Reserve(
            request=request, devices=list(devices), holder=holder, hold=hold, ttl_s=ttl_s, key=key
        )
        lease, _ = await self._reserve(wanted)
        return lease

    async def get_lease(self, lease_id: str) -> Lease:
        return await self.ask(calls.lease(lease_id))

    async def leases(
        self, holder: str = "", limit: int | None = None, cursor: str | None = None
    ) -> api.Page[Lease]:
        return await self.ask(calls.leases(holder, limit, cursor))

    async def commit(self, lease_id: str, fencing_token: int, *, holder: str = "", ttl_s: float = 0.0) -> Lease:
        """Make a reservation a lease. ttl_s 0: that of a lease that does not say, LEASE_TTL_S."""
        return await self.ask(calls.commit(lease_id, Claim(fencing_token=fencing_token, holder=holder, ttl_s=ttl_s)))

    async def renew(self, lease_id: str, fencing_token: int, *, holder: str = "", ttl_s: float = 0.0) -> Lease:
        """The whole TTL again, from now."""
        return await self.ask(calls.renew(lease_id, Claim(fencing_token=fencing_token, holder=holder, ttl_s=ttl_s)))

    async def release(
        self, lease_id: str, fencing_token: int, *, holder: str = "", outcome: Outcome = ""
    ) -> Lease:
        """Give devices back. outcome "failed" soon after the lease began speaks against the node."""
        claim = Claim(fencing_token=fencing_token, holder=holder, outcome=outcome)
        return await self.ask(calls.release(lease_id, claim))

    @asynccontextmanager
    async def lease(
        self, request: Request | None = None, *, devices: Iterable[str] = (), holder: str = "", ttl_s: float = 0.0
    ) -> AsyncIterator[Held[asyncio.Event]]:
        """Devices for as long as the block lasts: renewed by a task, released at its end; see Client.lease."""
        wanted = Reserve(request=request, devices=list(devices), holder=holder, ttl_s=ttl_s)
        lease, asked_at = await self._reserve(wanted)
        async with keeping.kept_async(lease, term(lease, asked_at), holder, self) as held:
            yield held

    async def cordon(self, request: CordonRequest) -> CordonResult:
        """Take devices or nodes out of what is offered: cordon, drain or a window of maintenance."""
        return await self.ask(calls.cordon(request))

    async def cordons(
        self, node: str = "", device: str = "", owner: str = "", cursor: str | None = None
    ) -> api.Page[Cordon]:
        return await self.ask(calls.cordons(node, device, owner, cursor))

    async def uncordon(self, cordon_id: str, owner: str = "") -> None:
        """Lift one owner's cordon; those of others stay."""
        await self.ask(calls.uncordon(cordon_id, owner))

    async def quiesce(self, node: str, for_s: float, force: bool = False) -> Quiesced:
        """Have a node's agent let go of all its devices; answers when it has, or after 15 s. force: though some are
        held."""
        return await self.ask(calls.quiesce(node, QuiesceRequest(for_s=for_s, force=force)))

    async def resume(self, node: str) -> Quiesced:
        """Have them back before the time is over."""
        return await self.ask(calls.resume(node))

    async def ledgers(self) -> list[LedgerState]:
        """What the schedulers have said of their allocations, and how long ago."""
        return await self.ask(calls.ledgers())

    async def alerts(
        self, which: Which = EVERY_ALERT, limit: int | None = None, cursor: str | None = None
    ) -> api.Page[Alert]:
        """Alerts that fire, are pending, or were resolved in the last 15 minutes."""
        return await self.ask(calls.alerts(which, limit, cursor))

    async def alert_rules(self) -> api.Page[AlertRule]:
        return await self.ask(calls.alert_rules())

    async def alert_receivers(self) -> api.Page[AlertReceiver]:
        """Who is told of alerts, and how telling them goes."""
        return await self.ask(calls.alert_receivers())

    async def test_receiver(self, name: str) -> AlertTested:
        """Sends a message at once; the answer says whether it was delivered."""
        return await self.ask(calls.test_receiver(name))

    async def silences(self) -> api.Page[Silence]:
        return await self.ask(calls.silences())

    async def silence(self, wanted: SilenceWanted) -> Silence:
        """For a time, nobody is told of alerts that all matchers match."""
        return await self.ask(calls.silence(wanted))

    async def end_silence(self, silence_id: str) -> None:
        await self.ask(calls.end_silence(silence_id))

    def watch(self, where: Where = EVERYTHING) -> AsyncGenerator[Event, None]:
        """Every device that matches, then each change, for ever; see Client.watch."""
        return watching.watch_async(self._http, self._url, self._token, where)

    def mirror(self, where: Where = EVERYTHING) -> AbstractAsyncContextManager[Mirror]:
        """The devices that match as they are now, kept up to date by a task while the block lasts."""
        return mirrored_async(self, where)

    async def _reserve(self, wanted: Reserve) -> tuple[Lease, float]:
        """The lease, and when it was asked for, on leasing.clock."""
        call = calls.reserve(wanted)
        for wait_s in AGAIN_S:
            asked_at = clock()
            try:
                return await self.ask(call), asked_at
            except Unreachable:
                await asyncio.sleep(wait_s)
        asked_at = clock()
        return await self.ask(call), asked_at

    async def ask(self, call: Call[Answer]) -> Answer:
        return calls.decode(call, await self.fetch(call))

    async def fetch(self, call: Call[Answer]) -> bytes:
        """The answer as it came."""
        try:
            answer = await self._http.request(
                call.method, call.path, params=call.query, content=call.body or None,
                headers=calls.headers(call, self._token),
            )
        except httpx.HTTPError as error:
            raise unreachable(self._url, error) from error
        return calls.check(answer.status_code, answer.content)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
