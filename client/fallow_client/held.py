"""A lease that a program holds, kept and given back for it."""

import asyncio
import logging
import threading
from collections.abc import Awaitable
from typing import Any, Generic, Literal, Protocol, TypeVar

from fallow_client.connection import AGAIN_S
from fallow_client.errors import FallowError, LeaseLost, Unreachable
from fallow_client.leasing import RENEWALS, Term, clock, ends, lost, term
from fallow_proto.dispatch import Lease, Member

LOG = logging.getLogger(__name__)
LOOK_S = 1.0  # at the clock, which may have jumped over a suspension of this machine
Outcome = Literal["", "ok", "failed"]
Flag = TypeVar("Flag", threading.Event, asyncio.Event)


class Held(Generic[Flag]):
    """What a program sees of a lease that is kept for it.

    `lost` is set as soon as the lease has ended or may have; check() raises LeaseLost then.
    """

    def __init__(self, lease: Lease, believed: Term, flag: Flag) -> None:
        self.lease = lease
        self.lost: Flag = flag
        self._believed = believed
        self._why: LeaseLost | None = None

    @property
    def id(self) -> str:
        return self.lease.lease_id

    @property
    def fencing_token(self) -> int:
        return self.lease.fencing_token

    @property
    def devices(self) -> list[Member]:
        return self.lease.devices

    def check(self) -> None:
        """Raises LeaseLost unless the devices are certainly still the holder's."""
        if self._why is not None:
            raise self._why
        if clock() >= self._believed.over_at:
            raise lost(self.id, None)

    def check_end(self) -> None:
        """Raises LeaseLost if the lease was lost before it was given back."""
        if self._why is not None:
            raise self._why

    @property
    def believed(self) -> Term:
        return self._believed

    def learn(self, believed: Term) -> None:
        self._believed = believed

    def lose(self, why: LeaseLost) -> None:
        self._why = why
        self.lost.set()


class Desk(Protocol):
    """Who renews leases and takes them back."""

    def renew(self, lease_id: str, fencing_token: int, *, holder: str = "") -> Awaitable[Lease]: ...

    def release(
        self, lease_id: str, fencing_token: int, *, holder: str = "", outcome: Outcome = ""
    ) -> Awaitable[Lease]: ...


async def hold(desk: Desk, held: Held[Flag], holder: str, ending: "asyncio.Future[Outcome]") -> None:
    """Keep a lease until `ending` says how the work ended, and give it back; or say that it is lost."""
    keeping = asyncio.create_task(_keep(desk, held, holder))
    either: set[asyncio.Future[Any]] = {keeping, ending}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            held.lose(keeping.result())
            return
    finally:
        keeping.cancel()
    try:
        async with asyncio.timeout(held.believed.over_at - clock()):  # then it has run out anyway
            await _give_back(desk, held, holder, ending.result())
    except TimeoutError:
        LOG.warning("lease %s ran out before its release was answered", held.id)


async def _keep(desk: Desk, held: Held[Flag], holder: str) -> LeaseLost:
    """Renew until the lease is lost, and say why."""
    failure: FallowError | None = None
    while (now := clock()) < held.believed.over_at:
        believed = held.believed
        if now < believed.renew_at:
            await asyncio.sleep(min(believed.renew_at - now, LOOK_S))
            continue
        try:
            async with asyncio.timeout(min(believed.over_at - now, believed.ttl_s / RENEWALS)):
                renewed = await desk.renew(held.id, held.fencing_token, holder=holder)
            held.learn(term(renewed, now))
            failure = None
        except FallowError as error:
            if ends(error):
                return lost(held.id, error)
            failure = error
            held.learn(believed.retried(clock()))
        except TimeoutError:
            failure = Unreachable("no renewal was answered in time; is fallow-collector running?")
            held.learn(believed.retried(clock()))
    return lost(held.id, failure)


async def _give_back(desk: Desk, held: Held[Flag], holder: str, outcome: Outcome) -> None:
    """Release. Without an answer the lease runs out by itself, as nobody renews it any more."""
    for wait_s in (*AGAIN_S, None):
        try:
            await desk.release(held.id, held.fencing_token, holder=holder, outcome=outcome)
        except Unreachable as error:
            if wait_s is None:
                LOG.warning("lease %s could not be released and will run out by itself: %s", held.id, error)
                return
            await asyncio.sleep(wait_s)
        except FallowError as error:
            if ends(error) and wait_s == AGAIN_S[0]:  # later the answer to an earlier release may have been lost
                held.lose(lost(held.id, error))
            elif not ends(error):
                LOG.warning("lease %s could not be released and will run out by itself: %s", held.id, error)
            return
        else:
            return


def outcome_of(error: BaseException | None) -> Outcome:
    """How work ended, to the collector. Being interrupted speaks neither for nor against a node."""
    if error is None:
        return "ok"
    return "failed" if isinstance(error, Exception) and not isinstance(error, LeaseLost) else ""


