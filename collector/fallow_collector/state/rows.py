"""The rows of the state file. Field names are column names; the first fields, up to KEYS, are the primary key."""

from typing import ClassVar, NamedTuple


class BaselineRow(NamedTuple):
    """What one device was learned to draw and hold when idle, under one driver and mode."""

    uuid: str
    key: str  # driver, partitioning and ECC mode, power limit: what a baseline is valid for
    floor_watts: float | None
    floor_source: str  # "learned", "prior", "accepted", "none"
    limit_watts: float | None  # the power limit that it was learned under
    base_memory_bytes: float | None
    base_source: str
    ever_read: str  # metric names, joined by a space
    clean_s: float  # of clean readings so far
    fitted_s: float  # of these when the floor was fitted last
    histogram: bytes  # of clean power readings, as the learner packs it


class SeenRow(NamedTuple):
    """A device that was in a Hello once or was declared, and has not been retired."""

    uuid: str
    node: str  # where it was last
    site: str
    present: bool  # in that node's last Hello
    declared: bool
    declared_class: str
    identity: bytes  # JSON


OWN_EVENT = "collector-"
"""What the ids of the collector's own events begin with; their epoch is its own run, no agent's."""


class EventRow(NamedTuple):
    """Something that happened; the newest `seq` of an id wins."""

    node: str
    epoch: str
    id: str
    seq: int
    kind: str
    device: str  # empty: the node
    many: int
    first_ms: int
    last_ms: int
    message: str
    code: int | None = None  # the vendor's number of it
    source: str = ""  # who said so; empty: the agent or the collector itself


class CordonRow(NamedTuple):
    """One owner's word that a device or a node is to get no new work."""

    cordon_id: str
    kind: str  # fallow_proto.states.Service, not in_service
    device: str  # uuid; empty: the whole node
    node: str
    owner: str
    reason: str
    since_ms: int
    start_ms: int  # wall clock; 0: at once
    end_ms: int  # wall clock; 0: none
    remaining_s: float | None  # until it expires, when it was last kept; None: never


class OwnedRow(NamedTuple):
    """A node whose devices a scheduler hands out: until it says what it has allocated, that is not known."""

    ledger: str
    node: str
    devices: str  # JSON: minor numbers or uuids; null: all accelerators


class BootRow(NamedTuple):
    """Which boot a node was in when it was last heard of."""

    node: str
    boot_id: str


class ConditionRow(NamedTuple):
    """A rule of health that holds of a device without a break, and since when."""

    rule: str
    device: str
    since_ms: int


Row = BaselineRow | SeenRow | EventRow | CordonRow | OwnedRow | BootRow | ConditionRow

KEYS: dict[type[Row], int] = {
    BaselineRow: 1, SeenRow: 1, EventRow: 3, CordonRow: 1, OwnedRow: 2, BootRow: 1, ConditionRow: 2,
}
"""How many of the first fields name the row."""


class Tables:
    """Names of the tables, and their definitions."""

    NAMES: ClassVar[dict[type[Row], str]] = {
        BaselineRow: "baselines", SeenRow: "seen", EventRow: "events", CordonRow: "cordons", OwnedRow: "owned",
        BootRow: "boots", ConditionRow: "conditions",
    }
    DEFINITIONS: ClassVar[tuple[str, ...]] = (
        """CREATE TABLE baselines (
          uuid TEXT PRIMARY KEY, key TEXT NOT NULL,
          floor_watts REAL, floor_source TEXT NOT NULL, limit_watts REAL,
          base_memory_bytes REAL, base_source TEXT NOT NULL,
          ever_read TEXT NOT NULL, clean_s REAL NOT NULL, fitted_s REAL NOT NULL, histogram BLOB NOT NULL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE seen (
          uuid TEXT PRIMARY KEY, node TEXT NOT NULL, site TEXT NOT NULL, present INTEGER NOT NULL,
          declared INTEGER NOT NULL, declared_class TEXT NOT NULL, identity BLOB NOT NULL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE events (
          node TEXT NOT NULL, epoch TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL,
          device TEXT NOT NULL, many INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
          message TEXT NOT NULL, PRIMARY KEY (node, epoch, id)
        ) STRICT""",
        "CREATE INDEX events_by_device ON events (device, last_ms)",
        "CREATE INDEX events_by_time ON events (last_ms)",
    )
    SINCE_2: ClassVar[tuple[str, ...]] = (
        """CREATE TABLE cordons (
          cordon_id TEXT PRIMARY KEY, kind TEXT NOT NULL, device TEXT NOT NULL, node TEXT NOT NULL,
          owner TEXT NOT NULL, reason TEXT NOT NULL, since_ms INTEGER NOT NULL, start_ms INTEGER NOT NULL,
          end_ms INTEGER NOT NULL, remaining_s REAL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE owned (
          ledger TEXT NOT NULL, node TEXT NOT NULL, devices TEXT NOT NULL, PRIMARY KEY (ledger, node)
        ) STRICT, WITHOUT ROWID""",
    )
    SINCE_3: ClassVar[tuple[str, ...]] = (
        "ALTER TABLE events ADD COLUMN code INTEGER",
        "ALTER TABLE events ADD COLUMN source TEXT NOT NULL DEFAULT ''",
    )
    SINCE_4: ClassVar[tuple[str, ...]] = (
        "CREATE TABLE boots (node TEXT PRIMARY KEY, boot_id TEXT NOT NULL) STRICT, WITHOUT ROWID",
        """CREATE TABLE conditions (
          rule TEXT NOT NULL, device TEXT NOT NULL, since_ms INTEGER NOT NULL, PRIMARY KEY (rule, device)
        ) STRICT, WITHOUT ROWID""",
    )
