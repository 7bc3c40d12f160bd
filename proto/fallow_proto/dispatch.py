"""What dispatchers ask and are told, as JSON: requests, leases, cordons, ledgers of schedulers, changes.

Times are RFC 3339 in UTC with milliseconds; what is not known is null. Durations are seconds.
"""

from enum import StrEnum
from typing import Literal

import msgspec

TOKEN_LIMIT = 2**53
"""Fencing tokens stay below it, so that a JSON number holds one exactly in every language."""

HOLD_MAX_S = 300.0
LEASE_TTL_S = 300.0  # of a lease that does not say
LEASE_TTL_MAX_S = 86_400.0

Precision = Literal["fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8"]


class Fault(StrEnum):
    """Why a call failed, for programs (Problem.code)."""

    NO_CAPACITY = "no_capacity"  # an answer, not a failure: exit status 3
    NOT_IDLE = "not_idle"  # a named device is not, or not any more
    OWNED_BY_SCHEDULER = "owned_by_scheduler"
    LEASE_NOT_FOUND = "lease_not_found"
    LEASE_ENDED = "lease_ended"  # released or expired
    NOT_RESERVED = "not_reserved"  # committed already
    NOT_HOLDER = "not_holder"
    TOKEN_STALE = "token_stale"  # lower than the lease's
    TOKEN_FOREIGN = "token_foreign"  # never issued for this lease
    FENCED = "fenced"  # the node has a higher token than ours
    KEY_REUSED = "key_reused"  # an idempotency key with another request
    BAD_TTL = "bad_ttl"
    CORDON_NOT_FOUND = "cordon_not_found"
    NOT_OWNER = "not_owner"  # of a cordon
    RECEIVER_NOT_FOUND = "receiver_not_found"  # of alerts
    SILENCE_NOT_FOUND = "silence_not_found"
    BAD_SILENCE = "bad_silence"


class Request(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Devices that somebody wants; what is left at its default does not matter. Lists match any of their words."""

    count: int = 1
    per_node: int = 0  # exactly so many on each node that is used; count is a multiple of it
    device_class: str = msgspec.field(name="class", default="intelligent")
    vendor: list[str] = []
    model: list[str] = []
    partition_profile: str = ""  # empty: whole devices only
    free_memory_bytes: int = 0  # on each device
    peak_flops: float = 0.0  # of each device, dense, at `precision`, in FLOP/s (int8: OP/s)
    precision: Precision = "fp16"
    same: Literal["", "link", "node", "rack", "site", "model"] = ""  # all devices in one link domain, node, …
    health: Literal["ok", "degraded"] = "degraded"  # the worst that will do
    power_headroom_watts: float = 0.0  # between what each device draws and its limit
    confidence: Literal["high", "low"] = "high"  # low: devices that only one witness speaks for will do
    sites: list[str] = []
    exclude_sites: list[str] = []
    exclude_nodes: list[str] = []


class Member(msgspec.Struct, kw_only=True, frozen=True):
    """A device of a lease or a placement."""

    uuid: str
    node: str
    index: int | None
    pci_bus_id: str | None


class Placement(msgspec.Struct, kw_only=True):
    devices: list[Member]
    nodes: int
    sites: list[str]
    max_age_ms: int  # of the evidence that these are idle
    confidence: str  # the lowest among them
    ledgers: list[str]  # who hands them out; anything but ["fallow"] must be asked for there


class Shortfall(msgspec.Struct, kw_only=True):
    """Why devices of the view do not serve: each is counted once, at the first reason that holds."""

    reason: str
    devices: int
    of: int  # all devices of the class
    example: str  # uuid of one of them


class Miss(msgspec.Struct, kw_only=True):
    """The least that would have to change of one requirement, all others kept, for the request to fit."""

    relax: str  # field of Request
    asked: str
    fits_at: str | None  # null: no value of this field alone makes it fit
    then: int  # devices that would be there


class Fit(msgspec.Struct, kw_only=True):
    fits: bool
    placement: Placement | None
    eligible: int  # devices that meet every requirement that a single device can meet
    largest: int  # the largest count that would fit with the rest of the request unchanged
    short: list[Shortfall]
    nearest: list[Miss]  # the smallest change first; empty when it fits
    as_of: str
    epoch: str
    revision: int
    complete: bool
    incomplete_by: dict[str, int]


class Reserve(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Either a request, for which devices are found, or devices by name."""

    holder: str = ""  # who; with tokens configured, the token's name goes in front
    request: Request | None = None
    devices: list[str] = []
    hold: bool = False  # reserve only; commit must follow within the TTL
    ttl_s: float = 0.0  # 0: [idle] reserve_ttl_s with hold, else LEASE_TTL_S
    key: str = ""  # idempotency: the same key and request again is answered with the lease that it made


class Claim(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Body of commit, renew and release: proof of being the holder."""

    fencing_token: int
    holder: str = ""
    ttl_s: float = 0.0  # 0: commit gives LEASE_TTL_S, renew keeps the lease's
    outcome: Literal["", "ok", "failed"] = ""  # release: failed soon after it began speaks against the node


class Lease(msgspec.Struct, kw_only=True):
    lease_id: str
    holder: str
    fencing_token: int
    state: str  # "reserved", "leased", "releasing"; a lease that has ended is not found
    ttl_s: float
    expires_in_s: float | None  # null: releasing
    since: str
    fenced: bool  # every node has confirmed the token
    devices: list[Member]


class Cordon(msgspec.Struct, kw_only=True):
    """One owner's word that devices are to get no new work; what several say adds up."""

    cordon_id: str
    kind: str  # "cordoned", "draining", "maintenance"
    owner: str
    reason: str
    device: str | None  # uuid; null: the whole node
    node: str | None
    since: str
    starts: str | None  # maintenance: in the future, perhaps
    expires_in_s: float | None  # null: never
    ends: str | None  # maintenance
    active: bool


class CordonRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    kind: Literal["cordoned", "draining", "maintenance"] = "cordoned"
    devices: list[str] = []
    nodes: list[str] = []
    owner: str = ""  # with tokens configured, the token's name goes in front
    reason: str = ""
    for_s: float = 0.0  # 0: until it is lifted
    start: str = ""  # maintenance: RFC 3339; empty: now
    end: str = ""
    dry_run: bool = False


class CordonResult(msgspec.Struct, kw_only=True):
    cordons: list[Cordon]
    affected: list[str]  # uuids that it takes out of what is offered
    leased: list[str]  # of these, the ones with a lease that goes on


class Job(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """A device that a scheduler has allocated. Of uuid, pci_bus_id and minor, one must be there; never an index.

    By job and uid the processes that belong on it are told from foreign ones. Where one of them is missing, as of a
    device that several jobs have, no process is called foreign.
    """

    node: str
    holder: str  # e.g. "job 17 of alice"
    uuid: str = ""
    pci_bus_id: str = ""
    minor: int | None = None
    job: str = ""  # Slurm's number of it, as control groups name it
    uid: int | None = None  # of its user


class Owned(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """A node whose devices a scheduler hands out: all accelerators, or those with these minor numbers."""

    node: str
    minors: list[int] | None = None
    problem: str = ""  # not empty: what is allocated on it could not be read, and its devices are unknown


class LedgerImport(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Everything that a scheduler has allocated: what is missing here is free."""

    age_s: float  # between the reading of the scheduler's state and this message
    nodes: list[Owned]
    jobs: list[Job]


class LedgerState(msgspec.Struct, kw_only=True):
    name: str
    age_s: float | None
    stale: bool
    nodes: int
    devices: int
    allocated: int
    unmatched: list[str]  # what does not fit the fleet, as "node what why": unknown nodes and devices, rival ledgers


class Change(msgspec.Struct, kw_only=True):
    """One event of a watch. `data` of the server-sent event; its id is "epoch:revision".

    kind: "added", "modified" (of what the filters match), "deleted" (no longer matches, or is gone), "bookmark"
    (nothing else changed up to this revision; the first one ends the list), "resync" (a gap: list again).
    """

    kind: str
    epoch: str
    revision: int
    as_of: str
    complete: bool | None = None  # bookmarks
    max_age_ms: int | None = None  # bookmarks: of the evidence of the devices that match
    device: "Watched | None" = None


class Watched(msgspec.Struct, kw_only=True):
    """A device as far as a dispatcher must hear of each change."""

    uuid: str
    node: str
    site: str
    vendor: str
    model: str
    device_class: str = msgspec.field(name="class")
    phase: str
    freshness: str
    health: str
    occupancy: str
    allocation: str
    service: str
    ledger: str
    confidence: str
    reasons: list[str]
    since: str
    lease_id: str | None
