"""Routes that have a node's agent let go of all its devices for a while, and come back."""

from typing import Protocol

from litestar import delete, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, SkipValidation

from fallow_collector.api.caller import FromCaller, check_node
from fallow_collector.api.documents import errors
from fallow_collector.api.parameters import FromAnswers
from fallow_collector.api.query import BadQuery
from fallow_proto.quiescing import LONGEST_S, SHORTEST_S, Quiesced, QuiesceRequest


class Quieter(Protocol):
    async def quiesce(self, node: str, request: QuiesceRequest, by: str) -> Quiesced:
        """Raises Unknown, Refused, Unavailable; the node is not asked then."""

    async def resume(self, node: str, by: str) -> Quiesced:
        """Raises Unknown, Unavailable."""


FromQuieter = NamedDependency[SkipValidation[Quieter]]


@post(
    "/api/v1/nodes/{node:str}/quiesce", operation_id="quiesce", summary="Quiesce a node", status_code=200,
    responses=errors(400, 404, 409, 503),
)
async def quiesce(
    answers: FromAnswers, caller: FromCaller, quieter: FromQuieter, node: FromPath[str], data: JSONBody[QuiesceRequest]
) -> Quiesced:
    """Have every vendor's reader of a node let go of its devices, so that a driver can be unloaded or a board reset;
    they come back by themselves. Refused while somebody has a device of the node, unless forced."""
    check_node(caller, answers, node)
    if not SHORTEST_S <= data.for_s <= LONGEST_S:
        raise BadQuery(f"for_s={data.for_s:g}: expected seconds, at least {SHORTEST_S:.0f} and at most {LONGEST_S:.0f}")
    return await quieter.quiesce(node, data, caller.name)


@delete(
    "/api/v1/nodes/{node:str}/quiesce", operation_id="resume", summary="End a node's quiesce", status_code=200,
    responses=errors(404, 503),
)
async def resume(answers: FromAnswers, caller: FromCaller, quieter: FromQuieter, node: FromPath[str]) -> Quiesced:
    """Have the readers of a node come back at once; their devices are verified anew before they are offered."""
    check_node(caller, answers, node)
    return await quieter.resume(node, caller.name)
