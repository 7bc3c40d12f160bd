"""Live state of all devices, in arrays: a report is a block assignment, and what it says is judged in the same breath.

Not thread-safe: one thread, the event loop's, calls everything.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.arrival import Arrival
from fallow_collector.fleet.chunks import Chunk, columns, gather
from fallow_collector.fleet.registry import Identity, Node, ReaderState, Seen, identity_of
from fallow_collector.series import Series
from fallow_proto.metrics import NAMES, Group
from fallow_proto.v1 import telemetry_pb2 as pb

WITNESS_INTERVALS = 2.5
"""A value counts for so many of its intervals and is then unknown."""

CLOCK_DRIFT = 5e-4
"""How fast a node's clock may drift from ours before its reports look delayed; crystals stay below 2e-4."""

INHERITED = ("utilization_ratio", "compute_active_ratio")
"""What a partition without numbers of its own shows: its parent's, since it is quiet when its parent is."""

NOBODY = np.int32(-1)


class GroupKey(NamedTuple):
    """Devices that are alike to a dispatcher."""

    site: str
    device_class: str
    vendor: str
    model: str
    partition_profile: str


class Observer(Protocol):
    """Who judges. See idle.engine.Engine."""

    def grow(self, capacity: int) -> None: ...

    def identify(self, row: int, unsupported: frozenset[str], conditions: tuple[str, ...], host: bool) -> None: ...

    def forget(self, row: int) -> None: ...

    def observe(
        self,
        rows: NDArray[np.int32],
        values: NDArray[np.float64],
        reasons: NDArray[np.uint8],
        time_ms: NDArray[np.int64],
        interval_s: NDArray[np.float64],
        contiguous: NDArray[np.bool_],
    ) -> None: ...


class Fleet:
    """values: float64[capacity, metrics], NaN unknown; seen_at: float64, collector's clock at which the newest fast
    reading would have come in without delay, −inf: none. Rows below `count` are in use unless not `alive`."""

    def __init__(self, observer: Observer, witnesses: tuple[str, ...]) -> None:
        self._observer = observer
        self._witness_columns = columns(witnesses)
        self._inherits = [i for i, name in enumerate(witnesses) if name in INHERITED]
        self.nodes: list[Node] = []
        self._node_number: dict[str, int] = {}
        self.identities: list[Identity] = []
        self._row: dict[str, int] = {}
        self.series: list[Series] = []
        self._series: dict[Series, int] = {}
        self.groups: list[GroupKey] = []
        self._group: dict[GroupKey, int] = {}
        self.rows_revision = 0  # rises when a row is added or retired
        self.absurd_values = 0
        self.changed: set[int] = set()  # rows whose Seen differs from what was last kept
        self._allocate(0)

    # --- who is there ---

    @property
    def count(self) -> int:
        return len(self.identities)

    def node_number(self, name: str) -> int:
        """The number of a node; a new one for a name not heard before."""
        number = self._node_number.get(name)
        if number is None:
            number = self._node_number[name] = len(self.nodes)
            self.nodes.append(Node(number, name))
        return number

    def node(self, name: str) -> Node | None:
        number = self._node_number.get(name)
        return None if number is None else self.nodes[number]

    def find(self, uuid: str) -> int | None:
        return self._row.get(uuid)

    def row_of(self, node: int, uuid: str) -> int | None:
        """The row of a device that a layout of the node names.

        A spooled report may be of a device that is gone and of which this collector never heard: it gets a row, absent.
        """
        row = self._row.get(uuid)
        if row is None:
            row = self._add(Identity(uuid=uuid))
            self.owner[row] = node
            self._regroup(row)
        return row

    def series_of(self, row: int, node: int | None = None) -> int:
        """Position in `series` of a device's tags, as a report of the node would carry them (default: of its own)."""
        identity = self.identities[row]
        owner = self.nodes[int(self.owner[row]) if node is None else node]
        tags = Series(
            owner.site, owner.name, identity.uuid, identity.vendor, identity.model, self.device_class(row)
        )
        position = self._series.get(tags)
        if position is None:
            position = self._series[tags] = len(self.series)
            self.series.append(tags)
        return position

    def device_class(self, row: int) -> str:
        """What was declared wins over what the agent says: only a site knows that its machine is a super-computer."""
        return self.declared_class.get(row) or self.identities[row].device_class

    # --- what nodes say ---

    def hello(self, hello: pb.Hello, receipt: float, wall: float) -> None:
        """Take over a node's inventory. receipt: monotonic seconds; wall: unix seconds."""
        node = self.nodes[self.node_number(hello.node)]
        if hello.epoch != node.epoch:
            node.epoch, node.judged_seq, node.judged_ms, node.offset = hello.epoch, 0, 0, None
            self.good_until_ms[node.rows] = -1  # another epoch's clock
        node.site, node.agent_version, node.boot_id = hello.site, hello.agent_version, hello.boot_id
        node.interval_s = hello.interval_s
        node.connected = True
        node.heard = receipt
        node.readers = [ReaderState(r.name, r.state, r.since_ms, r.message) for r in hello.readers]
        node.spool_pending = sum(r.hi - r.lo + 1 for e in hello.spooled for r in e.ranges)
        gone = set(node.rows)
        node.rows = [self._place(node, identity_of(device)) for device in hello.devices]
        for row in gone.difference(node.rows):
            if self.owner[row] == node.number:
                self.present[row] = False
                self.changed.add(row)
        for row in node.rows:
            self.parent[row] = self._row.get(self.identities[row].parent, NOBODY)

    def gone(self, node: str, receipt: float) -> None:
        """Its stream ended; silence, not this, makes its devices stale."""
        known = self.node(node)
        if known is not None:
            known.connected = False

    def judged(self, node: str) -> tuple[str, int]:
        known = self.node(node)
        return (known.epoch, known.judged_seq) if known is not None and known.judged_seq else ("", 0)

    def apply(self, arrivals: Sequence[Arrival]) -> None:
        """Take reports into live state and have them judged, each node's in their order."""
        waves: list[list[Arrival]] = []
        contiguous: list[list[bool]] = []
        depth: dict[int, int] = {}
        for arrival in arrivals:
            follows = self._admit(arrival)
            if follows is None:
                continue
            wave = depth.get(arrival.node, 0)
            depth[arrival.node] = wave + 1
            if wave == len(waves):
                waves.append([])
                contiguous.append([])
            waves[wave].append(arrival)
            contiguous[wave].append(follows)
        for reports, unbroken in zip(waves, contiguous, strict=True):
            self._take(gather(reports), np.array(unbroken, dtype=np.bool_))

    def _admit(self, arrival: Arrival) -> bool | None:
        """Whether the report follows on the node's last without a gap; None: not to be judged at all."""
        node = self.nodes[arrival.node]
        if arrival.epoch != node.epoch or arrival.seq <= node.judged_seq or arrival.time_ms <= node.judged_ms:
            return None
        follows = arrival.previous == node.judged_seq and node.judged_seq > 0
        node.judged_seq, node.judged_ms = arrival.seq, arrival.time_ms
        node.heard = arrival.receipt
        offset = arrival.receipt - arrival.time_ms / 1000
        if node.offset is not None:
            offset = min(offset, node.offset + CLOCK_DRIFT * (arrival.receipt - node.offset_at))
        node.offset, node.offset_at = offset, arrival.receipt
        return follows

    def _take(self, chunks: list[Chunk], follows: NDArray[np.bool_]) -> None:
        """One report of each of many nodes: all its values first, then one judgement of each device it read fast."""
        fast = []
        for chunk in chunks:
            mine = (self.owner[chunk.rows] == chunk.node) & self.present[chunk.rows]
            self.absurd_values += chunk.absurd
            self._assign(chunk, mine)
            if chunk.group is Group.FAST and mine.any():
                fast.append((chunk, mine))
        if not fast:
            return
        rows, first = np.unique(np.concatenate([c.rows[mine] for c, mine in fast]), return_index=True)
        joined = {
            name: np.concatenate([getattr(c, name)[mine] for c, mine in fast])[first]
            for name in ("node", "report", "time_ms", "interval_s")
        }
        time_ms, interval_s = joined["time_ms"], joined["interval_s"]
        # A device may stand in several blocks, each of other columns: the worst that was said of it counts.
        reasons = np.zeros(self.count, dtype=np.uint8)
        for chunk, mine in fast:
            np.maximum.at(reasons, chunk.rows[mine], chunk.reasons[mine])
        gap_ms = time_ms - self.last_ms[rows]
        contiguous = follows[joined["report"]] & (gap_ms <= WITNESS_INTERVALS * 1000 * interval_s)
        self.last_ms[rows] = time_ms
        self.interval_s[rows] = interval_s
        self.seen_at[rows] = time_ms / 1000 + self._offsets(joined["node"])
        self._observer.observe(
            rows, self._witnesses(rows, time_ms), reasons[rows], time_ms, interval_s, contiguous
        )

    def _assign(self, chunk: Chunk, mine: NDArray[np.bool_]) -> None:
        rows = chunk.rows[mine]
        until = chunk.time_ms[mine] + (WITNESS_INTERVALS * 1000 * chunk.interval_s[mine]).astype(np.int64)
        for names, values in ((chunk.gauge_names, chunk.gauges), (chunk.counter_names, chunk.counters)):
            if names:
                at = (rows[:, None], columns(names)[None, :])
                self.values[at] = values[mine]
                self.good_until_ms[at] = until[:, None]

    def _witnesses(self, rows: NDArray[np.int32], time_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Values that still count, a partition's missing activity being its parent's."""
        values = self._counting(rows, time_ms)
        parents = self.parent[rows]
        partitions = np.flatnonzero(parents != NOBODY)
        if len(partitions):
            of_parent = self._counting(parents[partitions], time_ms[partitions])
            for column in self._inherits:
                own = values[partitions, column]
                values[partitions, column] = np.where(np.isnan(own), of_parent[:, column], own)
        return values

    def _counting(self, rows: NDArray[np.int32], time_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        at = (rows[:, None], self._witness_columns[None, :])
        return np.where(self.good_until_ms[at] >= time_ms[:, None], self.values[at], np.nan)

    def _offsets(self, numbers: NDArray[np.int32]) -> NDArray[np.float64]:
        unique, inverse = np.unique(numbers, return_inverse=True)
        offsets = np.array([self.nodes[number].offset for number in unique], dtype=np.float64)
        return offsets[inverse]

    def age_s(self, now: float) -> NDArray[np.float64]:
        """Seconds since each device's newest reading, delay in the wire included; inf: none yet."""
        return np.maximum(now - self.seen_at[: self.count], 0.0)

    def current(self) -> NDArray[np.float64]:
        """float64[count, metrics] of what counted at each device's newest reading."""
        last = self.last_ms[: self.count]
        return np.where(self.good_until_ms[: self.count] >= last[:, None], self.values[: self.count], np.nan)

    # --- declared, seen, retired ---

    def declare(self, uuid: str, node: str, site: str, vendor: str, model: str, device_class: str) -> bool:
        """An operator says that the device is there. False: that was said before."""
        row = self._row.get(uuid)
        if row is None:
            row = self._add(Identity(uuid=uuid, vendor=vendor, model=model, device_class=device_class or "intelligent"))
            self.owner[row] = self.node_number(node)
            if site and not self.nodes[self.owner[row]].site:
                self.nodes[self.owner[row]].site = site
        new = not self.declared[row]
        self.declared[row] = True
        if device_class:
            self.declared_class[row] = device_class
        self._regroup(row)
        self.changed.add(row)
        return new

    def retire(self, row: int) -> None:
        """Forget an absent device; its row stays empty."""
        del self._row[self.identities[row].uuid]
        self.alive[row] = self.present[row] = self.declared[row] = False
        self.declared_class.pop(row, None)
        self.changed.discard(row)
        self.rows_revision += 1

    def seen(self, row: int) -> Seen:
        node = self.nodes[self.owner[row]]
        return Seen(
            self.identities[row], node.name, node.site, bool(self.present[row]), bool(self.declared[row]),
            self.declared_class.get(row, ""),
        )

    def restore(self, devices: Iterable[Seen]) -> None:
        """Take up devices of an earlier run; until their node says Hello, all that is known is that they were there."""
        for device in devices:
            row = self._add(device.identity)
            node = self.nodes[self.node_number(device.node)]
            node.site = node.site or device.site
            self.owner[row] = node.number
            self.present[row] = device.present
            self.declared[row] = device.declared
            if device.declared_class:
                self.declared_class[row] = device.declared_class
            if device.present:
                node.rows.append(row)
            self._regroup(row)
        for row in range(self.count):
            self.parent[row] = self._row.get(self.identities[row].parent, NOBODY)

    # --- rows ---

    def _place(self, node: Node, identity: Identity) -> int:
        row = self._row.get(identity.uuid)
        if row is None:
            row = self._add(identity)
        before = self.identities[row]
        moved = self.owner[row] != node.number
        if before.judged_under != identity.judged_under or moved:
            if before.model:
                self._observer.forget(row)
            self.values[row] = np.nan
            self.seen_at[row] = -np.inf
        if before != identity or moved or not self.present[row]:
            self.changed.add(row)
        if not self.present[row]:
            self.last_ms[row] = -1  # it was away: its next reading follows on none
        self.identities[row] = identity
        self.owner[row] = node.number
        self.present[row] = True
        self._identify(row)
        self._regroup(row)
        return row

    def _identify(self, row: int) -> None:
        identity = self.identities[row]
        self._observer.identify(
            row, frozenset(identity.unsupported), identity.conditions, identity.device_class == "general"
        )

    def _regroup(self, row: int) -> None:
        identity = self.identities[row]
        key = GroupKey(
            self.nodes[self.owner[row]].site, self.device_class(row), identity.vendor, identity.model,
            identity.partition_profile,
        )
        number = self._group.get(key)
        if number is None:
            number = self._group[key] = len(self.groups)
            self.groups.append(key)
        self.group[row] = number

    def _add(self, identity: Identity) -> int:
        row = len(self.identities)
        if row == len(self.alive):
            self._allocate(max(64, 2 * row))
        self.identities.append(identity)
        self._row[identity.uuid] = row
        self.rows_revision += 1
        self.alive[row] = True
        self._identify(row)
        return row

    def _allocate(self, capacity: int) -> None:
        old = len(self.alive) if capacity else 0
        for name, kind, width, empty in _ARRAYS:
            fresh = np.full((capacity, width) if width else capacity, empty, dtype=kind)
            if old:
                fresh[:old] = getattr(self, name)
            setattr(self, name, fresh)
        if not capacity:
            self.declared_class: dict[int, str] = {}
            return
        self._observer.grow(capacity)

    alive: NDArray[np.bool_]
    present: NDArray[np.bool_]
    declared: NDArray[np.bool_]
    owner: NDArray[np.int32]
    parent: NDArray[np.int32]
    group: NDArray[np.int32]
    values: NDArray[np.float64]
    good_until_ms: NDArray[np.int64]
    last_ms: NDArray[np.int64]
    interval_s: NDArray[np.float64]
    seen_at: NDArray[np.float64]
    allocation: NDArray[np.uint8]
    service: NDArray[np.uint8]


_ARRAYS: tuple[tuple[str, str, int, float], ...] = (
    ("alive", "?", 0, False),
    ("present", "?", 0, False),
    ("declared", "?", 0, False),
    ("owner", "i4", 0, -1),
    ("parent", "i4", 0, -1),
    ("group", "i4", 0, 0),
    ("values", "f8", len(NAMES), np.nan),
    ("good_until_ms", "i8", len(NAMES), -1),
    ("last_ms", "i8", 0, -1),
    ("interval_s", "f8", 0, 1.0),
    ("seen_at", "f8", 0, -np.inf),
    ("allocation", "u1", 0, 0),
    ("service", "u1", 0, 0),
)
