"""The client for programs that wait for each answer."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TypeVar

import httpx

from fallow_client import calls, keeping, watching
from fallow_client.aio import AsyncClient
from fallow_client.calls import EVERY_ALERT, EVERYTHING, Call, Where, Which
from fallow_client.connection import AGAIN_S, DEFAULT_URL, settings_for, unreachable
from fallow_client.errors import Unreachable
from fallow_client.following import Event
from fallow_client.held import Held, Outcome
from fallow_client.leasing import clock, term
from fallow_client.mirror import Mirror, mirrored
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


class Client:
    """Calls one collector; usable as a context manager. Every call raises FallowError.

        with Client("http://127.0.0.1:4918") as fallow:
            print(sum(group.idle for group in fallow.capacity().groups))
    """

    def __init__(self, url: str = DEFAULT_URL, token: str = "") -> None:
        self._url = url
        self._token = token
        self._http = httpx.Client(**settings_for(url))

    def capacity(self, where: Where = EVERYTHING) -> api.Capacity:
        return self.ask(calls.capacity(where))

    def totals(
        self, where: Where = EVERYTHING, by: Iterable[str] = (), precision: str = "fp16"
    ) -> api.Totals:
        """Devices, memory and dense FLOPS; by: of api.TOTAL_KEYS, to which the class is always added."""
        return self.ask(calls.totals(where, by, precision))

    def devices(
        self, where: Where = EVERYTHING, limit: int | None = None, cursor: str | None = None
    ) -> api.Page[api.Device]:
        return self.ask(calls.devices(where, limit, cursor))

    def all_devices(self, where: Where = EVERYTHING) -> Iterator[api.Device]:
        """Every device, page after page."""
        cursor: str | None = None
        while True:
            page = self.devices(where, cursor=cursor)
            yield from page.items
            if (cursor := page.next) is None:
                return

    def device(self, uuid: str) -> api.DeviceDetail:
        return self.ask(calls.device(uuid))

    def timeline(
        self, uuid: str, start: str = "-24h", end: str = "now", limit: int | None = None
    ) -> api.Page[api.Moment]:
        """Events, incidents and changes of phase of a device, newest first."""
        return self.ask(calls.timeline(uuid, start, end, limit))

    def explain(self, uuid: str) -> api.Explanation:
        return self.ask(calls.explain(uuid))

    def nodes(
        self, where: Where = EVERYTHING, limit: int | None = None, cursor: str | None = None
    ) -> api.Page[api.Node]:
        return self.ask(calls.nodes(where, limit, cursor))

    def history(
        self, uuid: str, columns: Iterable[str], start: str = "-1h", end: str = "now", step: str = "0"
    ) -> api.History:
        return self.ask(calls.history(uuid, columns, start, end, step))

    def declare(self, declared: Iterable[api.Declared]) -> api.DeclarationResult:
        return self.ask(calls.declare(declared))

    def retire(self, uuid: str) -> None:
        self.ask(calls.retire(uuid))

    def accept_baseline(self, uuid: str) -> api.Baseline:
        return self.ask(calls.accept_baseline(uuid))

    def fit(self, request: Request) -> Fit:
        """Whether and where devices that are idle now serve the request, and why others do not. Nothing is taken."""
        return self.ask(calls.fit(request))

    def reserve(
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
        lease, _ = self._reserve(wanted)
        return lease

    def get_lease(self, lease_id: str) -> Lease:
        return self.ask(calls.lease(lease_id))

    def leases(
        self, holder: str = "", limit: int | None = None, cursor: str | None = None
    ) -> api.Page[Lease]:
        return self.ask(calls.leases(holder, limit, cursor))

    def commit(self, lease_id: str, fencing_token: int, *, holder: str = "", ttl_s: float = 0.0) -> Lease:
        """Make a reservation a lease. ttl_s 0: that of a lease that does not say, LEASE_TTL_S."""
        return self.ask(calls.commit(lease_id, Claim(fencing_token=fencing_token, holder=holder, ttl_s=ttl_s)))

    def renew(self, lease_id: str, fencing_token: int, *, holder: str = "", ttl_s: float = 0.0) -> Lease:
        """The whole TTL again, from now."""
        return self.ask(calls.renew(lease_id, Claim(fencing_token=fencing_token, holder=holder, ttl_s=ttl_s)))

    def release(
        self, lease_id: str, fencing_token: int, *, holder: str = "", outcome: Outcome = ""
    ) -> Lease:
        """Give devices back. outcome "failed" soon after the lease began speaks against the node."""
        claim = Claim(fencing_token=fencing_token, holder=holder, outcome=outcome)
        return self.ask(calls.release(lease_id, claim))

    @contextmanager
    def lease(
        self, request: Request | None = None, *, devices: Iterable[str] = (), holder: str = "", ttl_s: float = 0.0
    ) -> Iterator[Held[threading.Event]]:
        """Devices for as long as the block lasts: renewed by a thread, released at its end.

        An exception in the block releases them as failed. Once the lease has ended, or may have, `lost` is set,
        check() raises LeaseLost, and so does the end of the block. Raises NoCapacity.

            with fallow.lease(Request(count=8, same="node"), holder="trainer") as lease:
                train(lease.devices, stop=lease.lost)
        """
        wanted = Reserve(request=request, devices=list(devices), holder=holder, ttl_s=ttl_s)
        lease, asked_at = self._reserve(wanted)
        with keeping.kept(lease, term(lease, asked_at), holder, self._another) as held:
            yield held

    def cordon(self, request: CordonRequest) -> CordonResult:
        """Take devices or nodes out of what is offered: cordon, drain or a window of maintenance."""
        return self.ask(calls.cordon(request))

    def cordons(
        self, node: str = "", device: str = "", owner: str = "", cursor: str | None = None
    ) -> api.Page[Cordon]:
        return self.ask(calls.cordons(node, device, owner, cursor))

    def uncordon(self, cordon_id: str, owner: str = "") -> None:
        """Lift one owner's cordon; those of others stay."""
        self.ask(calls.uncordon(cordon_id, owner))

    def quiesce(self, node: str, for_s: float, force: bool = False) -> Quiesced:
        """Have a node's agent let go of all its devices; answers when it has, or after 15 s. force: though some are
        held."""
        return self.ask(calls.quiesce(node, QuiesceRequest(for_s=for_s, force=force)))

    def resume(self, node: str) -> Quiesced:
        """Have them back before the time is over."""
        return self.ask(calls.resume(node))

    def ledgers(self) -> list[LedgerState]:
        """What the schedulers have said of their allocations, and how long ago."""
        return self.ask(calls.ledgers())

    def alerts(
        self, which: Which = EVERY_ALERT, limit: int | None = None, cursor: str | None = None
    ) -> api.Page[Alert]:
        """Alerts that fire, are pending, or were resolved in the last 15 minutes."""
        return self.ask(calls.alerts(which, limit, cursor))

    def alert_rules(self) -> api.Page[AlertRule]:
        return self.ask(calls.alert_rules())

    def alert_receivers(self) -> api.Page[AlertReceiver]:
        """Who is told of alerts, and how telling them goes."""
        return self.ask(calls.alert_receivers())

    def test_receiver(self, name: str) -> AlertTested:
        """Sends a message at once; the answer says whether it was delivered."""
        return self.ask(calls.test_receiver(name))

    def silences(self) -> api.Page[Silence]:
        return self.ask(calls.silences())

    def silence(self, wanted: SilenceWanted) -> Silence:
        """For a time, nobody is told of alerts that all matchers match."""
        return self.ask(calls.silence(wanted))

    def end_silence(self, silence_id: str) -> None:
        self.ask(calls.end_silence(silence_id))

    def watch(self, where: Where = EVERYTHING) -> Iterator[Event]:
        """Every device that matches, then each change, for ever: Changes, and a Cut whenever the watch broke off.

        It goes on by itself, where it was if the collector still knows, else with a new list. Raises only what asking
        again does not help: Malformed, and Refused other than for now.
        """
        return watching.watch(self._http, self._url, self._token, where)

    def mirror(self, where: Where = EVERYTHING) -> AbstractContextManager[Mirror]:
        """The devices that match as they are now, kept up to date by a thread while the block lasts."""
        return mirrored(self._another, where)

    def _reserve(self, wanted: Reserve) -> tuple[Lease, float]:
        """The lease, and when it was asked for, on leasing.clock."""
        call = calls.reserve(wanted)
        for wait_s in AGAIN_S:
            asked_at = clock()
            try:
                return self.ask(call), asked_at
            except Unreachable:
                time.sleep(wait_s)
        asked_at = clock()
        return self.ask(call), asked_at

    def _another(self) -> AsyncClient:
        """For a thread with a loop of its own."""
        return AsyncClient(self._url, self._token)

    def ask(self, call: Call[Answer]) -> Answer:
        return calls.decode(call, self.fetch(call))

    def fetch(self, call: Call[Answer]) -> bytes:
        """The answer as it came."""
        try:
            answer = self._http.request(
                call.method, call.path, params=call.query, content=call.body or None,
                headers=calls.headers(call, self._token),
            )
        except httpx.HTTPError as error:
            raise unreachable(self._url, error) from error
        return calls.check(answer.status_code, answer.content)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
