"""The calls of the HTTP API as values, for any client that can send bytes: what to ask, and how to read the answer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from fallow_client.errors import Malformed, Refused
from fallow_proto import api

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    method: str
    path: str
    answer: type[Answer]
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Where(NamedTuple):
    """Filters; an empty one matches everything, and several words match any of them."""

    site: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    device_class: tuple[str, ...] = ()
    vendor: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    phase: tuple[str, ...] = ()


EVERYTHING = Where()


def capacity(where: Where = EVERYTHING) -> Call[api.Capacity]:
    return Call("GET", "/api/v1/capacity", api.Capacity, _query(where))


def devices(
    where: Where = EVERYTHING, limit: int | None = None, cursor: str | None = None
) -> Call[api.Page[api.Device]]:
    return Call("GET", "/api/v1/devices", api.Page[api.Device], _query(where, limit, cursor))


def device(uuid: str) -> Call[api.DeviceDetail]:
    return Call("GET", f"/api/v1/devices/{quote(uuid, safe='')}", api.DeviceDetail)


def explain(uuid: str) -> Call[api.Explanation]:
    return Call("GET", f"/api/v1/devices/{quote(uuid, safe='')}/explain", api.Explanation)


def nodes(where: Where = EVERYTHING, limit: int | None = None, cursor: str | None = None) -> Call[api.Page[api.Node]]:
    return Call("GET", "/api/v1/nodes", api.Page[api.Node], _query(where, limit, cursor))


def history(
    uuid: str, columns: Iterable[str], start: str = "-1h", end: str = "now", step: str = "0"
) -> Call[api.History]:
    """Times are unix seconds, RFC 3339, `now`, or a time ago such as `-1h`; step is seconds or such as `1m`."""
    query = (("uuid", uuid), ("columns", ",".join(columns)), ("start", start), ("end", end), ("step", step))
    return Call("GET", "/api/v1/history", api.History, query)


def declare(declared: Iterable[api.Declared]) -> Call[api.DeclarationResult]:
    body = msgspec.json.encode(api.Declaration(devices=list(declared)))
    return Call("POST", "/api/v1/inventory", api.DeclarationResult, body=body)


def retire(uuid: str) -> Call[None]:
    return Call("DELETE", f"/api/v1/inventory/{quote(uuid, safe='')}", type(None))


def accept_baseline(uuid: str) -> Call[api.Baseline]:
    return Call("POST", f"/api/v1/devices/{quote(uuid, safe='')}/baseline/accept", api.Baseline)


def headers(call: Call[Answer], token: str) -> Mapping[str, str]:
    sent = {"accept": "application/json"}
    if call.body:
        sent["content-type"] = "application/json"
    if token:
        sent["authorization"] = f"Bearer {token}"
    return sent


def check(status: int, body: bytes) -> bytes:
    """The body of a good answer. Raises Refused or Malformed."""
    if 200 <= status < 300:
        return body
    try:
        problem = msgspec.json.decode(body, type=api.Problem)
    except msgspec.DecodeError as error:
        raise Malformed(f"status {status} came without a problem+json; is there a collector at this URL?") from error
    raise Refused(problem)


def decode(call: Call[Answer], body: bytes) -> Answer:
    """The answer of a checked body. Raises Malformed."""
    try:
        return msgspec.json.decode(body or b"null", type=call.answer)
    except msgspec.DecodeError as error:
        raise Malformed(
            f"the answer to {call.method} {call.path} is not of this version's shape: {error}; "
            f"is this a collector, and of the same version as the client?"
        ) from error


def _query(where: Where, limit: int | None = None, cursor: str | None = None) -> tuple[tuple[str, str], ...]:
    filters = (
        ("class" if name == "device_class" else name, ",".join(words)) for name, words in where._asdict().items()
    )
    pairs = [(name, text) for name, text in filters if text]
    if limit is not None:
        pairs.append(("limit", str(limit)))
    if cursor is not None:
        pairs.append(("cursor", cursor))
    return tuple(pairs)
