"""The shapes of the HTTP API and of `--json`: one set of structs for server, client and documents.

Times are RFC 3339 in UTC with milliseconds; what is not known is null.
"""

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from fallow_proto.metrics import NAMES

Item = TypeVar("Item")


class Page(msgspec.Struct, Generic[Item]):
    """A list: `next` is the cursor of the page that follows, null on the last one."""

    items: list[Item]
    next: str | None
    as_of: str
    complete: bool


class DeviceIdentity(msgspec.Struct, kw_only=True):
    uuid: str
    node: str
    site: str
    vendor: str
    model: str
    index: int | None
    minor: int | None
    pci_bus_id: str | None
    parent: str | None
    partition_profile: str | None
    # the rest of a device's keys are states and metrics


class DeviceState(DeviceIdentity, kw_only=True):
    device_class: str = msgspec.field(name="class")
    serial: str | None
    driver_version: str | None
    declared: bool
    phase: str
    freshness: str
    health: str
    occupancy: str
    allocation: str
    service: str
    ledger: str
    confidence: str
    reasons: list[str]
    age_ms: int | None  # of the newest reading; null: none since the collector started
    since: str  # when it came into this phase


if TYPE_CHECKING:

    class Device(DeviceState):
        """What a type checker knows of the struct below: any further attribute is a metric."""

        def __init__(self, **fields: Any) -> None: ...

        def __getattr__(self, metric: str) -> float | None: ...

else:
    Device = msgspec.defstruct(
        "Device",
        [(name, float | None, None) for name in (*NAMES, "memory_utilization_ratio", "idle_cores")],
        bases=(DeviceState,),
        kw_only=True,
        module=__name__,
    )
    """A device as the API shows it: identity, the five axes, the phase, and every metric by its name."""


DENSITY = "dense"
"""Of all FLOPS that are shown: without sparsity. A peak that is only known with sparsity, or that does not say, counts
as not known."""

FLOPS_SHOWN = ("fp16", "fp32")
"""Precisions that capacity shows unless asked for others."""

TOTAL_KEYS = ("site", "class", "vendor", "model", "domestic")


class Peak(msgspec.Struct):
    """Sum of dense peaks at one precision; never added across precisions or classes.

    fp16 is bf16 of chips without FP16; int8 is OP/s. No peak is known of partitions and of models that the catalogue
    does not know.
    """

    flops: float | None  # of the devices whose peak is known; null: of none it is
    unknown: int  # devices that the sum lacks


class Block(msgspec.Struct, kw_only=True):
    """Idle devices of the largest block on one node, in one link domain, in one rack; null: of none it is known."""

    node: int | None
    link: int | None
    rack: int | None


class Ineffective(msgspec.Struct, kw_only=True):
    """Devices that are powered and healthy and do no work, each counted once; what is not known counts for nothing."""

    idle: int
    leased_idle: int  # leased, and nothing done for reclaim_idle_s
    resident: int  # something is held that no ledger knows, and nothing runs
    busy_without_work: int  # busy by utilization, while no compute unit works and the power is that of rest
    of: int  # seen and not unavailable
    ratio: float | None  # of the four to `of`


class Group(msgspec.Struct, kw_only=True):
    """Capacity of one site, class, vendor, model and partition profile, in devices.

    declared + undeclared = seen + absent, and
    seen = idle + idle_low_confidence + verifying + reserved + leased + releasing + unmanaged + unavailable, always.
    """

    site: str
    device_class: str = msgspec.field(name="class")
    vendor: str
    model: str
    partition_profile: str | None
    domestic: bool | None  # whether its vendor is Chinese; null: the catalogue does not know the model
    declared: int
    undeclared: int
    seen: int
    absent: int
    idle: int
    idle_low_confidence: int
    verifying: int
    reserved: int
    leased: int
    releasing: int
    unmanaged: int
    unavailable: int
    unavailable_by: dict[str, int]
    reclaimable: int  # of the leased ones: live, and nothing done for reclaim_idle_s; never added to idle
    slots: dict[str, int]
    fragmentation: dict[str, float]  # by gang size, the share of the idle devices that no such gang on one node can use
    largest_block: Block
    idle_memory_bytes: float | None  # free memory of idle devices; null: of none it is known
    idle_memory_unknown: int  # idle devices that the sum lacks
    idle_flops: dict[str, Peak]  # by precision
    ineffective: Ineffective
    idle_cores: float | None = None  # class general: cores idle on hosts whose evidence is good, whole host or not
    available_memory_bytes: float | None = None  # class general: the window's least, summed over the same hosts


class Capacity(msgspec.Struct, kw_only=True):
    as_of: str
    epoch: str  # of this run of the collector
    revision: int  # rises whenever any device's phase changes; comparable within one epoch
    complete: bool
    incomplete_by: dict[str, int]  # reason -> devices that the view lacks
    max_age_ms: int | None  # of the evidence of the devices counted idle; null: none is
    density: str  # of all FLOPS: "dense"
    groups: list[Group]


class Total(msgspec.Struct, kw_only=True):
    """Devices that share the words asked for. A class is never added to another one, so it is always among them."""

    device_class: str = msgspec.field(name="class")
    site: str | msgspec.UnsetType = msgspec.UNSET
    vendor: str | msgspec.UnsetType = msgspec.UNSET
    model: str | msgspec.UnsetType = msgspec.UNSET
    domestic: bool | msgspec.UnsetType | None = msgspec.UNSET  # null: the catalogue does not know the model
    devices: int  # seen
    idle: int
    memory_bytes: float | None  # of the devices seen of which it is known; null: of none it is
    memory_unknown: int
    idle_memory_bytes: float | None  # free memory of idle devices
    idle_memory_unknown: int
    flops: Peak  # of the devices seen
    idle_flops: Peak


class Totals(msgspec.Struct, kw_only=True):
    as_of: str
    epoch: str
    revision: int
    complete: bool
    incomplete_by: dict[str, int]
    max_age_ms: int | None
    by: list[str]
    precision: str
    density: str
    totals: list[Total]


class Node(msgspec.Struct, kw_only=True):
    node: str
    site: str
    freshness: str
    age_ms: int | None
    agent_version: str | None
    epoch: str | None
    connected: bool
    devices: int
    phases: dict[str, int]
    readers: list["Reader"]
    rack: str | None
    clock_skew_s: float | None  # of the agent's stamps against our wall clock, the quickest transit included
    spool_pending: int | None  # reports that its agent held when it last said Hello
    spool_dropped: int | None = None  # reports that its agent had to drop since it started


class Reader(msgspec.Struct, kw_only=True):
    name: str
    state: str
    since: str | None
    message: str


class Predicate(msgspec.Struct, kw_only=True):
    """One rule that was asked about a device: what was found, what is expected, and how to get there."""

    name: str
    holds: bool | None  # null: cannot be told
    value: str
    threshold: str
    since: str | None
    next: str  # what would have to happen for it to hold


class Explanation(msgspec.Struct, kw_only=True):
    uuid: str
    phase: str
    as_of: str
    reasons: list[str]
    predicates: list[Predicate]


class Event(msgspec.Struct, kw_only=True):
    id: str
    node: str
    device: str | None
    kind: str
    count: int
    first: str
    last: str
    message: str
    code: int | None  # the vendor's number of it, such as an Xid
    source: str | None  # who said so: "nvml", "kernel"; null: the agent or the collector itself


class Evidence(msgspec.Struct, kw_only=True):
    """What an incident rests on."""

    what: str
    found: str
    threshold: str | None  # what would be right; null: it is no matter of a number
    events: list[str]  # node/epoch/id; empty: it was read, and not told


class Incident(msgspec.Struct, kw_only=True):
    """Something that is or was wrong with a device or a node, and one thing to do about it."""

    incident_id: str  # the same after a restart of the collector
    node: str
    device: str | None  # null: the node as a whole
    rule: str
    severity: str  # "info", "degraded", "failed"
    action: str  # "none", "restart_app", "reset_device", "restart_node", "inspect_hardware", "contact_vendor"
    mode: str  # "enforce"; "shadow": it is shown, and changes nothing
    since: str
    last: str
    cleared: str | None  # null: it is open
    cleared_by: str | None
    count: int
    summary: str
    evidence: list[Evidence]


class Moment(msgspec.Struct, kw_only=True):
    """One line of a timeline; of the last three the one that `kind` names, "cleared" being of an incident."""

    at: str
    kind: str  # "event" (its last time), "incident" (its beginning), "cleared", "phase"
    event: Event | None = None
    incident: Incident | None = None
    phase: str | None = None


class Process(msgspec.Struct, kw_only=True):
    """A process on a device, as its node's kernel and driver say; what they do not say is null."""

    pid: int
    problem: str | None  # why nobody knows who it is
    started: str | None
    command: str | None
    user: str | None  # name, or the number of a user whom the node's /etc/passwd does not name
    uid: int | None
    cgroup: str | None
    job: str | None  # Slurm's number of it; this and what follows are read out of the control group
    pod: str | None  # uid
    container: str | None
    unit: str | None
    memory_bytes: int | None
    exempt: bool  # one of [[idle.holders]]: it holds nothing
    foreign: bool | None  # neither of the user nor in the control group of the job that has the device; null: unknown


class Processes(msgspec.Struct, kw_only=True):
    """Who is on a device. problem: not null where that is not known. more: processes beyond those that are named."""

    problem: str | None
    items: list[Process]
    more: int


class DeviceDetail(msgspec.Struct, kw_only=True):
    device: Device
    baseline: "Baseline"
    events: list[Event]
    incidents: list[Incident]  # open ones of the device and its node, newest first
    timeline: list[Moment]  # of the last day, newest first, 50 at most
    processes: Processes | None = None  # null: its agent says nothing of processes, or is not connected


class Baseline(msgspec.Struct, kw_only=True):
    """What a device draws and holds when nothing runs on it."""

    uuid: str
    floor_watts: float | None
    floor_source: str  # "learned", "prior", "accepted", "none"
    base_memory_bytes: float | None
    base_source: str  # "learned", "accepted", "none"
    clean_s: float  # clean readings that the floor was learned from, as time


class Declared(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A device that its operator says is there."""

    uuid: str
    site: str = ""
    node: str = ""
    vendor: str = ""
    model: str = ""
    device_class: str = msgspec.field(name="class", default="")


class Declaration(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    devices: list[Declared]


class DeclarationResult(msgspec.Struct, kw_only=True):
    declared: int
    already: int


class History(msgspec.Struct, kw_only=True):
    """`columns` starts with "time" (unix seconds); a row holds null where nothing is known."""

    columns: list[str]
    rows: list[list[float | None]]


class Problem(msgspec.Struct, kw_only=True):
    """application/problem+json (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str | msgspec.UnsetType = msgspec.UNSET  # for programs: a value of fallow_proto.dispatch.Fault
    uuids: list[str] | msgspec.UnsetType = msgspec.UNSET  # the devices that it is about
