"""Routes for leases: reserve, commit, renew, release, and what there is."""

from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter, SkipValidation

from fallow_collector.api.caller import ANYBODY, Caller, FromCaller, check_device
from fallow_collector.api.documents import errors
from fallow_collector.api.parameters import DEFAULT_LIMIT, Cursor, FromAnswers, Limit
from fallow_collector.api.query import BadQuery
from fallow_proto import api
from fallow_proto.dispatch import Claim, Lease, Reserve

MAX_WORD = 256
"""Characters of a holder's name and of an idempotency key."""


class Leases(Protocol):
    """Who gives leases. Each raises Faulted, or Unavailable when what was decided cannot be made durable."""

    async def reserve(self, wanted: Reserve, caller: str, sites: Sequence[str] = ()) -> Lease:
        """sites: of which devices may be found for a request, empty: all."""

    async def commit(self, lease_id: str, claim: Claim, caller: str) -> Lease: ...

    async def renew(self, lease_id: str, claim: Claim, caller: str) -> Lease: ...

    async def release(self, lease_id: str, claim: Claim, caller: str) -> Lease: ...

    async def settle(self) -> None:
        """Until what has been decided outlives a crash: between looking at leases and showing them."""

    def lease(self, lease_id: str, asking: Caller = ANYBODY) -> Lease: ...

    def leases(
        self, holder: list[str], limit: int, cursor: str | None, asking: Caller = ANYBODY
    ) -> api.Page[Lease]:
        """Sorted by id; the cursor is the last id of the page before. Who may lease sees their own, who may only read
        and who may everything see all, each of their sites."""


FromLeases = NamedDependency[SkipValidation[Leases]]
Key = Annotated[
    str | None,
    HeaderParameter(name="Idempotency-Key", max_length=MAX_WORD, description="The same as `key` in the body."),
]
Holders = Annotated[
    list[str] | None, QueryParameter(name="holder", description="Holders, as leases show them. Repeated: any of them.")
]


@post(
    "/api/v1/leases", operation_id="reserve", summary="Reserve devices, and commit unless they are held",
    status_code=201, responses=errors(400, 403, 404, 409, 410, 503),
)
async def reserve(
    leases: FromLeases, answers: FromAnswers, caller: FromCaller, data: JSONBody[Reserve], idempotency_key: Key = None
) -> Lease:
    """Lease devices that fit a request, or those that are named: all of them or none."""
    if idempotency_key:
        if data.key not in ("", idempotency_key):
            raise BadQuery(f"key={data.key!r} and Idempotency-Key: {idempotency_key!r} differ; expected one of them")
        data = msgspec.structs.replace(data, key=idempotency_key)
    check(data)
    for uuid in data.devices:
        check_device(caller, answers, uuid)
    if data.request is not None:
        caller.of_sites(data.request.sites)
    return await leases.reserve(data, caller.name, caller.sites)


@get(
    "/api/v1/leases", operation_id="leases", summary="Leases", responses=errors(400),
)
async def list_leases(
    leases: FromLeases, caller: FromCaller, holder: Holders = None, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> api.Page[Lease]:
    """Leases that have not ended, by id: with a token that may lease its own, else all."""
    found = leases.leases(holder or [], limit, cursor, caller)
    await leases.settle()
    return found


@get(
    "/api/v1/leases/{lease_id:str}", operation_id="lease", summary="One lease", responses=errors(404),
)
async def lease(leases: FromLeases, caller: FromCaller, lease_id: FromPath[str]) -> Lease:
    """A lease; one that has ended, or that the token may not see, is not found."""
    try:
        return leases.lease(lease_id, caller)
    finally:  # that it is not found is an answer, too
        await leases.settle()


@post(
    "/api/v1/leases/{lease_id:str}/commit", operation_id="commit", summary="Commit a reservation", status_code=200,
    responses=errors(400, 403, 404, 409, 410, 503),
)
async def commit(
    leases: FromLeases, caller: FromCaller, lease_id: FromPath[str], data: JSONBody[Claim]
) -> Lease:
    """Make a lease of a reservation; `fenced` says whether every node has confirmed its token."""
    return await leases.commit(lease_id, data, caller.name)


@post(
    "/api/v1/leases/{lease_id:str}/renew", operation_id="renew", summary="Renew a lease", status_code=200,
    responses=errors(400, 403, 404, 409, 410, 503),
)
async def renew(
    leases: FromLeases, caller: FromCaller, lease_id: FromPath[str], data: JSONBody[Claim]
) -> Lease:
    """Prolong a lease or a reservation to its TTL from now."""
    return await leases.renew(lease_id, data, caller.name)


@post(
    "/api/v1/leases/{lease_id:str}/release", operation_id="release", summary="Release a lease", status_code=200,
    responses=errors(400, 403, 404, 409, 410, 503),
)
async def release(
    leases: FromLeases, caller: FromCaller, lease_id: FromPath[str], data: JSONBody[Claim]
) -> Lease:
    """Give the devices back; each is offered again once it was seen quiet and clean."""
    return await leases.release(lease_id, data, caller.name)


def check(wanted: Reserve) -> None:
    """Raises BadQuery if it does not say what is wanted, or says it twice."""
    if (wanted.request is None) == (not wanted.devices):
        raise BadQuery("expected either request or devices")
    seen = set[str]()
    for position, uuid in enumerate(wanted.devices):
        if uuid in seen:
            raise BadQuery(f"devices[{position}]={uuid!r}: is there twice; expected each device once")
        seen.add(uuid)
    for name, word in (("holder", wanted.holder), ("key", wanted.key)):
        if len(word) > MAX_WORD or not word.isprintable():
            raise BadQuery(f"{name}={word[:MAX_WORD]!r}: expected at most {MAX_WORD} printable characters")
