"""The calls of the HTTP API as values, for any client that can send bytes: what to ask, and how to read the answer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from fallow_client.errors import Malformed, refusal
from fallow_proto import alerts as shapes
from fallow_proto import api, dispatch
from fallow_proto.quiescing import Quiesced, QuiesceRequest

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


class Which(NamedTuple):
    """Filters of alerts, as Where's."""

    state: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    uuid: tuple[str, ...] = ()
    rule: tuple[str, ...] = ()


EVERY_ALERT = Which()


def capacity(where: Where = EVERYTHING) -> Call[api.Capacity]:
    return Call("GET", "/api/v1/capacity", api.Capacity, _query(where))


def totals(
    where: Where = EVERYTHING, by: Iterable[str] = (), precision: str = "fp16"
) -> Call[api.Totals]:
    """by: of api.TOTAL_KEYS, to which the class is always added."""
    query = _query(where) + _filled(("by", ",".join(by)), ("precision", precision))
    return Call("GET", "/api/v1/totals", api.Totals, query)


def devices(
    where: Where = EVERYTHING, limit: int | None = None, cursor: str | None = None
) -> Call[api.Page[api.Device]]:
    return Call("GET", "/api/v1/devices", api.Page[api.Device], _query(where, limit, cursor))


def device(uuid: str) -> Call[api.DeviceDetail]:
    return Call("GET", f"/api/v1/devices/{quote(uuid, safe='')}", api.DeviceDetail)


def timeline(
    uuid: str, start: str = "-24h", end: str = "now", limit: int | None = None
) -> Call[api.Page[api.Moment]]:
    """Times as for history."""
    query = (("start", start), ("end", end), *_paged(limit, None))
    return Call("GET", f"/api/v1/devices/{quote(uuid, safe='')}/timeline", api.Page[api.Moment], query)


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


def fit(request: dispatch.Request) -> Call[dispatch.Fit]:
    return Call("POST", "/api/v1/fit", dispatch.Fit, body=msgspec.json.encode(request))


def reserve(wanted: dispatch.Reserve) -> Call[dispatch.Lease]:
    """With an idempotency key, a random one unless `wanted` has its own: sent again, the call makes no second lease."""
    keyed = wanted if wanted.key else msgspec.structs.replace(wanted, key=token_hex(16))
    return Call("POST", "/api/v1/leases", dispatch.Lease, body=msgspec.json.encode(keyed))


def lease(lease_id: str) -> Call[dispatch.Lease]:
    return Call("GET", _lease(lease_id), dispatch.Lease)


def leases(
    holder: str = "", limit: int | None = None, cursor: str | None = None
) -> Call[api.Page[dispatch.Lease]]:
    query = _filled(("holder", holder)) + _paged(limit, cursor)
    return Call("GET", "/api/v1/leases", api.Page[dispatch.Lease], query)


def commit(lease_id: str, claim: dispatch.Claim) -> Call[dispatch.Lease]:
    return Call("POST", _lease(lease_id, "/commit"), dispatch.Lease, body=msgspec.json.encode(claim))


def renew(lease_id: str, claim: dispatch.Claim) -> Call[dispatch.Lease]:
    return Call("POST", _lease(lease_id, "/renew"), dispatch.Lease, body=msgspec.json.encode(claim))


def release(lease_id: str, claim: dispatch.Claim) -> Call[dispatch.Lease]:
    return Call("POST", _lease(lease_id, "/release"), dispatch.Lease, body=msgspec.json.encode(claim))


def cordon(request: dispatch.CordonRequest) -> Call[dispatch.CordonResult]:
    return Call("POST", "/api/v1/cordons", dispatch.CordonResult, body=msgspec.json.encode(request))


def cordons(
    node: str = "", device: str = "", owner: str = "", cursor: str | None = None
) -> Call[api.Page[dispatch.Cordon]]:
    query = _filled(("node", node), ("device", device), ("owner", owner)) + _paged(None, cursor)
    return Call("GET", "/api/v1/cordons", api.Page[dispatch.Cordon], query)


def uncordon(cordon_id: str, owner: str = "") -> Call[None]:
    path = f"/api/v1/cordons/{quote(cordon_id, safe='')}"
    return Call("DELETE", path, type(None), _filled(("owner", owner)))


def quiesce(node: str, request: QuiesceRequest) -> Call[Quiesced]:
    return Call("POST", _quiesce(node), Quiesced, body=msgspec.json.encode(request))


def resume(node: str) -> Call[Quiesced]:
    return Call("DELETE", _quiesce(node), Quiesced)


def ledgers() -> Call[list[dispatch.LedgerState]]:
    return Call("GET", "/api/v1/ledgers", list[dispatch.LedgerState])


def alerts(
    which: Which = EVERY_ALERT, limit: int | None = None, cursor: str | None = None
) -> Call[api.Page[shapes.Alert]]:
    filters = ((name, ",".join(words)) for name, words in which._asdict().items())
    return Call("GET", "/api/v1/alerts", api.Page[shapes.Alert], _filled(*filters) + _paged(limit, cursor))


def alert_rules() -> Call[api.Page[shapes.AlertRule]]:
    return Call("GET", "/api/v1/alerts/rules", api.Page[shapes.AlertRule])


def alert_receivers() -> Call[api.Page[shapes.AlertReceiver]]:
    return Call("GET", "/api/v1/alerts/receivers", api.Page[shapes.AlertReceiver])


def test_receiver(receiver: str) -> Call[shapes.AlertTested]:
    body = msgspec.json.encode(shapes.AlertTestWanted(receiver=receiver))
    return Call("POST", "/api/v1/alerts/test", shapes.AlertTested, body=body)


def silences() -> Call[api.Page[shapes.Silence]]:
    return Call("GET", "/api/v1/silences", api.Page[shapes.Silence])


def silence(wanted: shapes.SilenceWanted) -> Call[shapes.Silence]:
    return Call("POST", "/api/v1/silences", shapes.Silence, body=msgspec.json.encode(wanted))


def end_silence(silence_id: str) -> Call[None]:
    return Call("DELETE", f"/api/v1/silences/{quote(silence_id, safe='')}", type(None))


def watch(where: Where = EVERYTHING, resume: str = "") -> Call[dispatch.Change]:
    """The answer is a stream of server-sent events, each a Change. resume: "epoch:revision"; empty: list first."""
    return Call("GET", "/api/v1/watch", dispatch.Change, _query(where) + _filled(("resume", resume)))


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
    raise refusal(problem)


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
    return _filled(*filters) + _paged(limit, cursor)


def _paged(limit: int | None, cursor: str | None) -> tuple[tuple[str, str], ...]:
    given = (("limit", None if limit is None else str(limit)), ("cursor", cursor))
    return tuple((name, text) for name, text in given if text is not None)


def _filled(*pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, text) for name, text in pairs if text)


def _quiesce(node: str) -> str:
    return f"/api/v1/nodes/{quote(node, safe='')}/quiesce"


def _lease(lease_id: str, action: str = "") -> str:
    return f"/api/v1/leases/{quote(lease_id, safe='')}{action}"
