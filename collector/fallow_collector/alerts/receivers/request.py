"""What is sent to a receiver at one attempt, and what it is made from. Nothing secret is in a repr."""

import base64
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Context:
    """url: where to. keys: what messages are signed with, newest first. token: a bearer token; empty: none.
    external_url: the collector's address as people reach it. version: of Fallow. at: unix seconds of this attempt."""

    url: str = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)
    token: str = field(repr=False)
    external_url: str
    version: str
    at: float


@dataclass(frozen=True, slots=True)
class Request:
    """headers: their names in small letters. body: the very bytes that are signed. secrets: what was made for it and no
    text may repeat, such as a signature."""

    method: str
    url: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


def posted(
    context: Context, body: bytes, *, url: str = "", headers: dict[str, str] | None = None,
    secrets: tuple[str, ...] = (),
) -> Request:
    """url: another than the context's, such as one that is signed."""
    usual = {"content-type": "application/json", "user-agent": f"fallow/{context.version}"}
    authorization = _authorization(context)
    allowed = {"authorization": authorization} if authorization else {}
    secrets = (*secrets, authorization.partition(" ")[2])
    return Request("POST", url or context.url, {**usual, **allowed, **(headers or {})}, body, secrets)


def _authorization(context: Context) -> str:
    """The token, or what stands before the host of the URL (RFC 7617)."""
    if context.token:
        return f"Bearer {context.token}"
    parts = urlsplit(context.url)
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
