"""Who is in the fleet: nodes, devices, their rows in the arrays, and what operators declared."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from fallow_collector.fleet.arrays import ARRAYS
from fallow_collector.fleet.registry import Identity, Node, ReaderState, Seen, identity_of
from fallow_collector.series import Series
from fallow_proto.v1 import telemetry_pb2 as pb

NOBODY = np.int32(-1)
OWN_LEDGER = "fallow"


class GroupKey(NamedTuple):
    """Devices that are alike to a dispatcher."""

    site: str
    device_class: str
    vendor: str
    model: str
    partition_profile: str


class Claim(NamedTuple):
    """node names the device, and owner has it; both by name."""

    node: str
    uuid: str
    owner: str


class Registrar(Protocol):
    """Whoever keeps something of each row, and has to hear of new and changed ones."""

    def grow(self, capacity: int) -> None: ...

    def identify(
        self, row: int, unsupported: frozenset[str], conditions: tuple[str, ...], host: bool, vendor: str, model: str,
        partition: bool,
    ) -> None: ...

    def forget(self, row: int) -> None: ...

    def restart(self, rows: NDArray[np.integer]) -> None:
        """What was seen of these by now counts no more."""

    def lost_s(self, interval_s: float) -> float:
        """After so long a silence a node that reads at this interval is lost."""


class Roster:
    """Rows below `count` are in use unless not `alive`.

    host: bool, a host's CPUs. unread: bool, of which no reading comes. owner, parent, group: int32, the node's number,
    the parent's row (NOBODY: none), position in `groups`. values: float64[capacity, metrics], NaN unknown, good until
    the agent's stamp good_until_ms. seen_at: float64, when by the collector's clock the newest fast reading would have
    come in without delay, −inf: none.

    allocation, imported, service: uint8, positions in the axes of idle.phase: what our own leases say, what the
    scheduler that owns the device says, and what operators say. verdict: uint8, what the rules of health say, a
    health.verdict.Verdict. foreign: bool, a process is on it that is not of the job that has it. ledger: int16,
    position in `ledgers` of whose it is to hand out. allocated_at: float64, when by the collector's clock what `owned`
    says became so.
    """

    def __init__(self, registrar: Registrar) -> None:
        self._registrar = registrar
        self.nodes: list[Node] = []
        self._node_number: dict[str, int] = {}
        self.identities: list[Identity] = []
        self._row: dict[str, int] = {}
        self.series: list[Series] = []
        self._series: dict[Series, int] = {}
        self.groups: list[GroupKey] = []
        self._group: dict[GroupKey, int] = {}
        self.ledgers: list[str] = [OWN_LEDGER]
        self.declared_class: dict[int, str] = {}
        self.rows_revision = 0  # rises when a row is added or retired
        self.who_revision = 0  # rises when a device comes, goes, moves or is another, or a node is in another rack
        self.unusable_readers = 0  # of all nodes, failed or stuck: they may hide devices
        self.changed: set[int] = set()  # rows whose Seen differs from what was last kept
        self.greeted: set[int] = set()  # nodes that said Hello since their ledgers were matched with their devices
        self._claimants: set[int] = set()  # nodes with claims
        self._allocate(0)

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

    def site_of(self, row: int) -> str:
        return self.nodes[int(self.owner[row])].site

    def owned(self, rows: "slice | NDArray[np.integer] | int | None" = None) -> NDArray[np.uint8]:
        """uint8, the allocation of rows (default: all) that counts: our own lease, else what its scheduler says."""
        which = slice(self.count) if rows is None else rows
        own = self.allocation[which]
        return np.where(own != 0, own, self.imported[which])

    def device_class(self, row: int) -> str:
        """What was declared wins over what the agent says: only a site knows that its machine is a super-computer."""
        return self.declared_class.get(row) or self.identities[row].device_class

    # --- what nodes and operators say ---

    def hello(self, hello: pb.Hello, receipt: float, wall: float) -> None:
        """Take over a node's inventory. receipt: monotonic seconds; wall: unix seconds."""
        node = self.nodes[self.node_number(hello.node)]
        if hello.epoch != node.epoch:
            node.epoch, node.judged_seq, node.judged_ms, node.offset = hello.epoch, 0, 0, None
            self.values[node.rows], self.last_ms[node.rows] = np.nan, -1  # another epoch's clock
            self._registrar.restart(np.array(node.rows, dtype=np.intp))
        self.who_revision += node.rack != hello.rack
        node.site, node.rack, node.agent_version = hello.site, hello.rack, hello.agent_version
        node.interval_s = hello.interval_s
        node.connected, node.heard_at = True, receipt
        self.unusable_readers -= node.unusable_readers
        node.readers = [ReaderState(r.name, r.state, r.since_ms, r.message) for r in hello.readers]
        self.unusable_readers += node.unusable_readers
        node.spool_pending = sum(r.hi - r.lo + 1 for e in hello.spooled for r in e.ranges)
        node.spool_dropped = hello.spool_dropped if hello.HasField("spool_dropped") else None
        gone = set(node.rows)
        node.rows, node.claims = [], []
        for device in hello.devices:
            self._claim(node, self._known(node, identity_of(device)), receipt)
        read = {self.identities[row].pci_bus_id for row in node.rows if not self.unread[row]}
        for row in gone.difference(node.rows):
            if self.owner[row] == node.number:
                self.present[row] = False
                self._note_change(row)
                if self.unread[row] and self.identities[row].pci_bus_id in read:
                    self.retire(row)  # it is a device with a name now
        self._find_parents(node.rows)
        self.greeted.add(node.number)
        self.hand_over(receipt)

    def gone(self, node: str, receipt: float) -> None:
        """Its stream ended; silence, not this, makes its devices stale."""
        known = self.node(node)
        if known is not None:
            known.connected = False
            known.claims = []
            self._claimants.discard(known.number)

    def hand_over(self, now: float) -> None:
        """Devices that their node no longer names, or whose node is lost, go to whoever else names them. now: monotonic
        seconds."""
        for number in sorted(self._claimants):
            node = self.nodes[number]
            claims, node.claims = node.claims, []
            for identity in claims:
                self._claim(node, identity, now)
            if len(node.claims) < len(claims):
                self._find_parents(node.rows)
                self.greeted.add(number)
        self._claimants = {number for number in self._claimants if self.nodes[number].claims}

    def claims(self) -> Iterator[Claim]:
        """Devices that one connected node names and another one has."""
        for number in sorted(self._claimants):
            for identity in self.nodes[number].claims:
                row = self._row.get(identity.uuid)
                if row is not None and (owner := self.nodes[self.owner[row]]).connected:
                    yield Claim(self.nodes[number].name, identity.uuid, owner.name)

    def has(self, node: str, uuid: str) -> bool:
        """Whether the device is the node's own."""
        row = self._row.get(uuid)
        return row is not None and self.nodes[self.owner[row]].name == node

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
        self.who_revision += 1

    def seen(self, row: int) -> Seen:
        node = self.nodes[self.owner[row]]
        return Seen(
            self.identities[row], node.name, node.site, bool(self.present[row]), bool(self.declared[row]),
            self.declared_class.get(row, ""),
        )

    def restore(self, devices: Iterable[Seen], now: float) -> None:
        """Take up devices of an earlier run; until their node says Hello, all that is known is that they were there.

        now: monotonic seconds; nobody else gets them before their node had the time to come back.
        """
        for device in devices:
            row = self._add(device.identity)
            node = self.nodes[self.node_number(device.node)]
            node.site, node.heard_at = node.site or device.site, now
            self.owner[row] = node.number
            self.present[row] = device.present
            self.declared[row] = device.declared
            if device.declared_class:
                self.declared_class[row] = device.declared_class
            if device.present:
                node.rows.append(row)
            self._regroup(row)
        self._find_parents(range(self.count))

    # --- rows ---

    def _claim(self, node: Node, identity: Identity, now: float) -> None:
        """A device that a node names is its own, unless another node that is not lost has it: then it is claimed."""
        row = self._row.get(identity.uuid)
        owner = self.nodes[self.owner[row]] if row is not None and self.present[row] else node
        if owner is not node and row is not None:
            if now - owner.heard_at <= self._registrar.lost_s(owner.interval_s):
                node.claims.append(identity)
                self._claimants.add(node.number)
                return
            owner.rows.remove(row)
            self.greeted.add(owner.number)
            if owner.connected:  # it may be back without another Hello, and think that the device is still its own
                owner.claims.append(self.identities[row])
                self._claimants.add(owner.number)
        node.rows.append(self._place(node, identity))

    def _find_parents(self, rows: Iterable[int]) -> None:
        """Among the devices of each one's node: else a node could have another's counted as cut into partitions."""
        for row in rows:
            parent = self._row.get(self.identities[row].parent, NOBODY)
            self.parent[row] = parent if parent != NOBODY and self.owner[parent] == self.owner[row] else NOBODY

    def _place(self, node: Node, identity: Identity) -> int:
        row = self._row.get(identity.uuid)
        if row is None:
            row = self._add(identity)
        before = self.identities[row]
        moved = self.owner[row] not in (NOBODY, node.number)
        if before.judged_under != identity.judged_under or moved:
            self._registrar.forget(row)
            self.values[row] = np.nan
            self.seen_at[row] = -np.inf
        altered = before != identity or moved or not self.present[row]
        self.who_revision += before != identity or moved
        if not self.present[row]:
            # It was away: its next reading follows on none, and its node's clock may be another one since.
            self.values[row], self.last_ms[row] = np.nan, -1
            if np.isfinite(self.seen_at[row]):
                self._registrar.restart(np.array([row]))
        self.identities[row] = identity
        self.owner[row] = node.number
        self.present[row] = True
        self._identify(row)
        self._regroup(row)
        if altered:
            self._note_change(row)
        return row

    def _known(self, node: Node, identity: Identity) -> Identity:
        """Under the name that a reader gave it, when it is a device of the node that is on the bus and unread now."""
        if not identity.is_unread or identity.uuid in self._row:
            return identity
        for row in np.flatnonzero((self.owner == node.number) & self.alive).tolist():
            before = self.identities[row]
            if (before.pci_bus_id, before.vendor) == (identity.pci_bus_id, identity.vendor) and not before.parent:
                return structs.replace(before, conditions=identity.conditions)
        return identity

    def _note_change(self, row: int) -> None:
        """Of what was never read nothing is kept: whoever sees it on the bus says so again."""
        if not self.unread[row] or np.isfinite(self.seen_at[row]):
            self.changed.add(row)

    def _identify(self, row: int) -> None:
        identity = self.identities[row]
        self.host[row] = identity.device_class == "general"
        self.unread[row] = identity.is_unread
        self._registrar.identify(
            row, frozenset(identity.unsupported), identity.conditions, bool(self.host[row]),
            identity.vendor, identity.model, bool(identity.parent or identity.partition_profile),
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
        self.who_revision += bool(self.group[row] != number)
        self.group[row] = number

    def _add(self, identity: Identity) -> int:
        row = len(self.identities)
        if row == len(self.alive):
            self._allocate(max(64, 2 * row))
        self.identities.append(identity)
        self._row[identity.uuid] = row
        self.rows_revision += 1
        self.who_revision += 1
        self.alive[row] = True
        self._identify(row)
        return row

    def _allocate(self, capacity: int) -> None:
        old = len(self.alive) if capacity else 0
        for name, kind, width, empty in ARRAYS:
            # Column by column: answers read a few metrics of all devices.
            fresh = np.full((capacity, width) if width else capacity, empty, dtype=kind, order="F")
            if old:
                fresh[:old] = getattr(self, name)
            setattr(self, name, fresh)
        if capacity:
            self._registrar.grow(capacity)

    alive: NDArray[np.bool_]
    present: NDArray[np.bool_]
    declared: NDArray[np.bool_]
    host: NDArray[np.bool_]
    unread: NDArray[np.bool_]
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
    verdict: NDArray[np.uint8]
    foreign: NDArray[np.bool_]
    imported: NDArray[np.uint8]
    ledger: NDArray[np.int16]
    allocated_at: NDArray[np.float64]
