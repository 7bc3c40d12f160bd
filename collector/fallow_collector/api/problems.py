"""Errors as application/problem+json (RFC 9457), each with a detail that an operator can act on."""

import logging
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from fallow_collector.api.answers import Refused, Unavailable, Unknown
from fallow_collector.api.caller import OtherSite
from fallow_collector.api.query import BadQuery
from fallow_collector.faulted import Faulted
from fallow_proto import api
from fallow_proto.dispatch import Fault

LOG = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"

STATUS_OF: dict[type[Exception], int] = {
    BadQuery: 400,
    OtherSite: 403,
    Unknown: 404,
    Refused: 409,
    Unavailable: 503,
}
"""What the errors of the API's own tree are in HTTP."""

STATUS_OF_FAULT: dict[Fault, int] = {
    Fault.NO_CAPACITY: 409,
    Fault.NOT_IDLE: 409,
    Fault.OWNED_BY_SCHEDULER: 409,
    Fault.LEASE_NOT_FOUND: 404,
    Fault.LEASE_ENDED: 410,
    Fault.NOT_RESERVED: 409,
    Fault.NOT_HOLDER: 403,
    Fault.TOKEN_STALE: 409,
    Fault.TOKEN_FOREIGN: 409,
    Fault.FENCED: 409,
    Fault.KEY_REUSED: 409,
    Fault.BAD_TTL: 400,
    Fault.CORDON_NOT_FOUND: 404,
    Fault.NOT_OWNER: 403,
    Fault.RECEIVER_NOT_FOUND: 404,
    Fault.SILENCE_NOT_FOUND: 404,
    Fault.BAD_SILENCE: 400,
}

AnyRequest = Request[Any, Any, Any]


def problem(status: int, detail: str) -> api.Problem:
    return api.Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)


def problem_bytes(found: api.Problem) -> bytes:
    return msgspec.json.encode(found)


def response(status: int, detail: str) -> Response[bytes]:
    return Response(problem_bytes(problem(status, detail)), status_code=status, media_type=MEDIA_TYPE)


def of_own(request: AnyRequest, error: Exception) -> Response[bytes]:
    """An error of STATUS_OF."""
    status = next(status for kind, status in STATUS_OF.items() if isinstance(error, kind))
    return response(status, str(error.args[0]) if error.args else HTTPStatus(status).phrase)


def of_fault(request: AnyRequest, error: Faulted) -> Response[bytes]:
    found = problem(STATUS_OF_FAULT[error.fault], str(error))
    found.code = str(error.fault)
    if error.uuids:
        found.uuids = error.uuids
    return Response(problem_bytes(found), status_code=found.status, media_type=MEDIA_TYPE)


def of_http(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """An error that the framework found: bad parameters and bodies, routes and methods that do not exist."""
    match error.status_code:
        case 404:
            detail = f"there is no route {request.url.path}; /openapi.json lists them"
        case 405:
            detail = f"{request.method} is not possible on {request.url.path}; /openapi.json lists what is"
        case _ if isinstance(error, ValidationException) and isinstance(error.extra, list):
            detail = "; ".join(_explain(request, found) for found in error.extra)
        case 400 if not isinstance(error, ValidationException):
            detail = f"the body cannot be read: {error.detail}; expected JSON"
        case _:
            detail = error.detail
    answer = response(error.status_code, detail)
    answer.headers.update(error.headers or {})
    return answer


def of_nesting(request: AnyRequest, error: RecursionError) -> Response[bytes]:
    """The framework decodes bodies without a limit of its own to their depth; nothing here recurses otherwise."""
    return response(400, "the body cannot be read: it is nested too deeply; expected what /openapi.json says")


def of_unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    """A defect of the collector: the reason goes to its log, not over the wire."""
    LOG.error("event=request_failed method=%s path=%r", request.method, request.url.path, exc_info=error)
    return response(500, "the collector failed to answer; its log says why")


def _explain(request: AnyRequest, found: dict[str, Any]) -> str:
    """Msgspec's "Expected `int` <= 10000" with the parameter and what came in front."""
    key, message = found.get("key", ""), str(found["message"])
    if key in request.query_params:
        return f"{key}={request.query_params[key]}: {message}"
    return f"{key}: {message}" if key else message
