"""Who gets in: everything is refused but what one table lets through, before any route is looked up.

| tokens | asking | other methods | OPEN |
|---|---|---|---|
| set | as NEEDED_TO_ASK says | as NEEDED says | open |
| none, loopback only | Host is a loopback | Host is a loopback, no foreign Origin | Host is a loopback |
| none, open | open | no foreign Origin | open |

Without tokens a browser on the operator's machine is the way in: a page that rebinds its name to 127.0.0.1 shows its
own name as Host, and one that posts blindly shows its Origin.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from fallow_collector.api.caller import ANYBODY, Caller, Standing
from fallow_collector.api.problems import problem_bytes
from fallow_collector.api.tokens import Role, Token, Tokens, find
from fallow_proto import api, enrolment

LOG = logging.getLogger(__name__)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"/healthz", enrolment.PATH})
"""Where no token is asked for: a node that enrols shows its join token instead."""

NEEDED: tuple[tuple[str, Role], ...] = (
    ("/api/v1/fit", Role.READ),  # questions with a body
    ("/api/v1/kubernetes/", Role.READ),
    ("/api/v1/leases", Role.LEASE),
    ("/api/v1/ledgers/", Role.LEASE),
    ("", Role.ADMIN),
)
"""The role that a method which is not safe needs, by the start of the path; the first that matches counts."""

NEEDED_TO_ASK: tuple[tuple[str, Role], ...] = (
    ("/api/v1/recording", Role.ADMIN),  # costs the collector something, and names who owns what
    ("", Role.READ),
)
"""The same of the safe methods."""

OF_SITES = frozenset({
    "/api/v1/alerts", "/api/v1/capacity", "/api/v1/cordons", "/api/v1/devices", "/api/v1/fit", "/api/v1/history",
    "/api/v1/inventory", "/api/v1/kubernetes", "/api/v1/leases", "/api/v1/nodes", "/api/v1/silences", "/api/v1/totals",
    "/api/v1/watch", "/healthz", "/metrics", "/openapi.json", "/readyz",
})
"""Paths, with all below them, that keep to the sites of a token which is not for all of them; no other lets it in."""

OF_ALL = frozenset({"/api/v1/alerts/receivers", "/api/v1/alerts/rules", "/api/v1/alerts/test"})
"""Below these, and of all sites none the less: whom one collector tells, and by which rules."""


AT_ONCE = 256
"""Requests of one token: half of what the collector answers, so that no holder of one keeps the others out by asking
slowly or much."""


class Knock(NamedTuple):
    """What of a request decides whether it gets in; a header that is not there is empty."""

    method: str
    path: str
    host: str
    origin: str
    authorization: str


class Verdict(NamedTuple):
    who: Caller
    problem: api.Problem | None


def judge(knock: Knock, tokens: Sequence[Token] | None, loopback_only: bool) -> Verdict:
    """Whether a request gets in. `tokens` None: none are configured."""
    if tokens is None:
        return Verdict(ANYBODY, _without_tokens(knock, loopback_only))
    if knock.path in OPEN:
        return Verdict(ANYBODY, None)
    scheme, _, presented = knock.authorization.partition(" ")
    if not presented:
        return _denied(401, "no token came; expected the header Authorization: Bearer TOKEN")
    token = find(presented.strip(), tokens) if scheme.lower() == "bearer" else None
    if token is None:
        return _denied(401, "the token is not in [auth] tokens_file; expected one made with fallow token new")
    needed = needs(knock.method, knock.path)
    if not token.role.covers(needed):
        return _denied(403, f"token {token.name} has role {token.role}; {knock.method} {knock.path} needs {needed}")
    if token.sites and not _keeps_to_sites(knock.path):
        return _denied(403, f"token {token.name} is for {', '.join(token.sites)} only; {knock.path} is of all sites")
    return Verdict(Caller(token.name, token.role, token.sites), None)


def needs(method: str, path: str) -> Role:
    table = NEEDED_TO_ASK if method in SAFE_METHODS else NEEDED
    return next(role for start, role in table if path.startswith(start))


def as_routed(path: str) -> str:
    """The path as the router reads it, which skips empty segments: //api/v1/recording is /api/v1/recording to it."""
    return "/" + "/".join(segment for segment in path.split("/") if segment)


def _keeps_to_sites(path: str) -> bool:
    return path not in OF_ALL and any(path == whole or path.startswith(f"{whole}/") for whole in OF_SITES)


def _without_tokens(knock: Knock, loopback_only: bool) -> api.Problem | None:
    if loopback_only and not is_loopback(host_of(knock.host)):
        return api.Problem(
            title="Forbidden", status=403,
            detail=f"Host is {knock.host!r}, expected a loopback address, because no [auth] tokens_file is configured",
        )
    if knock.method not in SAFE_METHODS and knock.origin and urlsplit(knock.origin).netloc != knock.host:
        return api.Problem(
            title="Forbidden", status=403,
            detail=f"a page of {knock.origin} may not {knock.method} here; expected no Origin or that of {knock.host}",
        )
    return None


def host_of(header: str) -> str:
    """The name or address in a Host header, without port and brackets; empty if it makes no sense."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a name or address can only mean this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _denied(status: int, detail: str) -> Verdict:
    title = "Unauthorized" if status == 401 else "Forbidden"
    return Verdict(ANYBODY, api.Problem(title=title, status=status, detail=detail))


class Gate:
    """An ASGI application that lets requests through to another one."""

    def __init__(self, app: ASGIApp, tokens: Tokens | None, loopback_only: bool) -> None:
        self._app = app
        self._tokens = tokens
        self._loopback_only = loopback_only
        self._running = Counter[str]()  # by name of the token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        knock = _knock(scope)
        current = self._tokens.current() if self._tokens is not None else None
        who, problem = judge(knock, current, self._loopback_only)
        if problem := problem or self._too_many(who):
            await _refuse(problem, send)
            return
        scope.setdefault("state", {}).update(
            caller=who.name, asking=who, standing=self._standing(knock, who, current)
        )
        if knock.path not in OPEN and needs(knock.method, knock.path) is not Role.READ:
            LOG.info("event=change method=%s path=%r token=%s", knock.method, knock.path, who.name or "-")
        self._running[who.name] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running[who.name] -= 1

    def _too_many(self, who: Caller) -> api.Problem | None:
        if not who.name or self._running[who.name] < AT_ONCE:
            return None
        return api.Problem(
            title="Service Unavailable", status=503,
            detail=f"{AT_ONCE} requests with token {who.name} are being answered, which is as many as are at once; ask "
                   f"again in a second. Is something asking in a loop?",
        )

    def _standing(self, knock: Knock, who: Caller, tokens: Sequence[Token] | None) -> Standing:
        def standing() -> bool:
            current = self._tokens.current() if self._tokens is not None else None
            return current is tokens or judge(knock, current, self._loopback_only).who == who

        return standing


def _knock(scope: HTTPScope) -> Knock:
    headers = dict(scope["headers"])
    host, origin, authorization = (
        headers.get(name, b"").decode("latin-1") for name in (b"host", b"origin", b"authorization")
    )
    return Knock(scope["method"], as_routed(scope["path"]), host, origin, authorization)


async def _refuse(problem: api.Problem, send: Send) -> None:
    headers = [(b"content-type", b"application/problem+json")]
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    body = problem_bytes(problem)
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
