"""The one route that needs no bearer token, for a node has none yet: its join token is its right to a certificate.

Only over TLS, or on this host: a token that others could read is nobody's.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.exceptions import (
    PermissionDeniedException,
    ServiceUnavailableException,
    TooManyRequestsException,
)
from litestar.params import JSONBody, SkipValidation

from fallow_collector.api.answers import Unknown
from fallow_collector.api.documents import errors
from fallow_collector.api.gate import is_loopback
from fallow_collector.certs.authority import Granted
from fallow_collector.certs.errors import CertsError, NoAuthority, Refused
from fallow_collector.pace import Pace
from fallow_proto.enrolment import PATH, Authority, Enrolled, Enrolment

log = logging.getLogger(__name__)

AnyRequest = Request[Any, Any, Any]


class Registrar(Protocol):
    """now: unix seconds."""

    def bundle(self, now: float) -> str: ...

    def enrol(self, token: str, node: str, request: bytes, now: float) -> Granted:
        """Raises Refused, CertsError."""


class Office:
    """The registrar, None as long as there is none, and how often each address may come to it."""

    def __init__(self, found: Callable[[], Registrar | None]) -> None:
        self._found = found
        self.pace = Pace()

    @property
    def registrar(self) -> Registrar:
        """Raises NoAuthority."""
        found = self._found()
        if found is None:
            raise NoAuthority("there is no authority here; `fallow-collector certs init` makes one")
        return found


FromOffice = NamedDependency[SkipValidation[Office]]


@get(
    PATH, operation_id="authority", summary="Whom agents should trust", sync_to_thread=True,
    responses=errors(403, 404, 503), security=[],
)
def authority(enrolment: FromOffice, request: AnyRequest) -> Authority:
    """In PEM. An agent that enrols finds in it the authority whose fingerprint it was given."""
    _check_way(request)
    try:
        return Authority(enrolment.registrar.bundle(time.time()))
    except NoAuthority as error:
        raise Unknown(str(error)) from error
    except CertsError as error:
        raise ServiceUnavailableException(str(error)) from error


@post(
    PATH, operation_id="enroll", summary="A first certificate for a node", sync_to_thread=True, status_code=200,
    responses=errors(400, 403, 404, 429, 503), security=[],
)
def enroll(enrolment: FromOffice, request: AnyRequest, data: JSONBody[Enrolment]) -> Enrolled:
    """For a join token of `fallow-collector certs join-token`, which it spends. `fallow-agent enroll` asks this."""
    _check_way(request)
    address = request.client.host if request.client is not None else ""
    if not enrolment.pace.admits(address, time.monotonic()):
        again = {"Retry-After": "1"}
        raise TooManyRequestsException("too many from this address; ask again in a second", headers=again)
    try:
        granted = enrolment.registrar.enrol(data.token, data.node, data.csr.encode(), time.time())
    except Refused as error:
        log.warning("enrolment refused address=%s node=%r reason=%s", address, data.node[:80], error)
        raise PermissionDeniedException(str(error)) from error
    except NoAuthority as error:
        raise Unknown(str(error)) from error
    except CertsError as error:
        raise ServiceUnavailableException(str(error)) from error
    log.info("enrolled node=%s address=%s", data.node, address)
    return Enrolled(granted.certificate, granted.ca)


def _check_way(request: AnyRequest) -> None:
    if request.scope["scheme"] != "https" and not (request.client is not None and is_loopback(request.client.host)):
        raise PermissionDeniedException("nodes are enrolled over TLS only: set [tls] cert and key, and ask with https://")
