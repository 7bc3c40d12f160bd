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


Row = BaselineRow | SeenRow | EventRow

KEYS: dict[type[Row], int] = {BaselineRow: 1, SeenRow: 1, EventRow: 3}
"""How many of the first fields name the row."""


class Tables:
    """Names of the tables, and their definitions."""

    NAMES: ClassVar[dict[type[Row], str]] = {BaselineRow: "baselines", SeenRow: "seen", EventRow: "events"}
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
