"""Routes that take devices and nodes out of service and back: cordons, drains, maintenance windows."""

import time
from collections.abc import Sequence
from typing import Annotated, NamedTuple, Protocol

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter, SkipValidation

from fallow_collector.api.caller import FromCaller, check_device, check_node
from fallow_collector.api.documents import errors
from fallow_collector.api.parameters import DEFAULT_LIMIT, Cursor, FromAnswers, Limit
from fallow_collector.api.query import BadQuery, moment
from fallow_collector.cordons.wanted import Unfit, Wanted, speaker
from fallow_proto import api
from fallow_proto.dispatch import Cordon, CordonRequest, CordonResult
from fallow_proto.states import Service


class Filter(NamedTuple):
    """What is empty matches everything."""

    node: str
    device: str
    owner: str
    sites: tuple[str, ...] = ()


class CordonDesk(Protocol):
    async def put(self, wanted: Wanted, dry_run: bool) -> CordonResult:
        """Raises Unfit, Unknown, Unavailable; nothing is done then."""

    async def lift(self, cordon_id: str, owner: str, sites: Sequence[str] = ()) -> None:
        """sites: of which it may be, empty: all. Raises Faulted, Unavailable; nothing is done then."""

    def listed(self, which: Filter, limit: int, cursor: str | None) -> api.Page[Cordon]: ...


FromDesk = NamedDependency[SkipValidation[CordonDesk]]

OfNode = Annotated[str, QueryParameter(name="node", description="Only cordons of this node, or of its devices.")]
OfDevice = Annotated[
    str, QueryParameter(name="device", description="Only cordons that this device is under, its node's included."),
]
OfOwner = Annotated[str, QueryParameter(name="owner", description="Only cordons of this owner.")]
Owner = Annotated[
    str,
    QueryParameter(name="owner", description="Who lifts it; with tokens configured, the token's name goes in front."),
]


@post(
    "/api/v1/cordons", operation_id="cordon", summary="Cordon, drain, or set a maintenance window", status_code=200,
    responses=errors(400, 404, 503),
)
async def cordon(
    answers: FromAnswers, caller: FromCaller, cordons: FromDesk, data: JSONBody[CordonRequest]
) -> CordonResult:
    """Give devices and nodes no new work; leases go on. What several owners say adds up, and each lifts its own."""
    for uuid in data.devices:
        check_device(caller, answers, uuid)
    for node in data.nodes:
        check_node(caller, answers, node)
    try:
        return await cordons.put(_wanted(data, caller.name, time.time()), data.dry_run)
    except Unfit as error:
        raise BadQuery(str(error)) from error


@get("/api/v1/cordons", operation_id="cordons", summary="Cordons", sync_to_thread=False, responses=errors(400))
def listed(
    cordons: FromDesk,
    caller: FromCaller,
    node: OfNode = "",
    device: OfDevice = "",
    owner: OfOwner = "",
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> api.Page[Cordon]:
    """Cordons that stand, and maintenance windows to come, the oldest first."""
    return cordons.listed(Filter(node, device, owner, caller.sites), limit, cursor)


@delete(
    "/api/v1/cordons/{cordon_id:str}", operation_id="uncordon", summary="Lift a cordon",
    responses=errors(403, 404, 503),
)
async def uncordon(
    caller: FromCaller, cordons: FromDesk, cordon_id: FromPath[str], owner: Owner = ""
) -> None:
    """Take one's own word back; the collector's, which quarantines, anybody may. The devices are verified anew."""
    await cordons.lift(cordon_id, speaker(caller.name, owner), caller.sites)


def _wanted(data: CordonRequest, caller: str, now: float) -> Wanted:
    return Wanted(
        kind=Service(data.kind),
        devices=tuple(dict.fromkeys(data.devices)),
        nodes=tuple(dict.fromkeys(data.nodes)),
        owner=speaker(caller, data.owner),
        reason=data.reason,
        for_s=data.for_s,
        start=moment("start", data.start, now) if data.start else None,
        end=moment("end", data.end, now) if data.end else None,
    )
