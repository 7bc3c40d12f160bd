"""JSON of alerts and silences, shared by HTTP API, client and command line. Times are RFC 3339 UTC."""

import msgspec


class Alert(msgspec.Struct, kw_only=True):
    """state: pending, firing or resolved (kept for 15 minutes). known: false while what its rule looks at is not known:
    it stays as it was."""

    fingerprint: str
    rule: str
    state: str
    labels: dict[str, str]
    annotations: dict[str, str]
    active_since: str
    firing_since: str | None
    resolved_at: str | None
    known: bool
    silenced_by: list[str]
    inhibited_by: list[str]


class AlertRule(msgspec.Struct, kw_only=True):
    """problem: why it could not be evaluated last; null: it could. where: file and line."""

    name: str
    over: str
    expr: str
    for_s: float
    severity: str
    where: str
    firing: int
    pending: int
    problem: str | None


class AlertReceiver(msgspec.Struct, kw_only=True):
    """waiting: notifications not delivered yet. dead: given up in the last day."""

    name: str
    type: str
    address: str  # scheme and host only: the rest may be secret
    waiting: int
    dead: int
    delivered_at: str | None
    problem: str | None  # of the newest attempt; null: it succeeded, or there was none


class AlertTestWanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    receiver: str


class AlertTested(msgspec.Struct, kw_only=True):
    receiver: str
    delivered: bool
    status: int | None  # of HTTP
    message: str
    took_ms: int


class SilenceWanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """matchers: such as `node="n1"`, `alertname=~"Device.*"`; all must match. Either for_s or ends_at."""

    matchers: list[str]
    comment: str
    for_s: float | None = None
    starts_at: str | None = None  # null: now
    ends_at: str | None = None
    created_by: str = ""


class Silence(msgspec.Struct, kw_only=True):
    """state: pending, active or expired."""

    id: str
    matchers: list[str]
    comment: str
    starts_at: str
    ends_at: str
    created_by: str
    state: str
