"""Health of the fleet: what happened and what holds, weighed into one verdict a device.

Not thread-safe: one thread, the event loop's, calls everything.
"""

from collections.abc import Callable, Iterable, Iterator
from math import inf, nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.dated import dated, is_datable, off_by_ms
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.roster import NOBODY
from fallow_collector.health.boots import Boots
from fallow_collector.health.breaker import doubted
from fallow_collector.health.conditions import SEVERITIES, Conditions, Facts, Held, Holding
from fallow_collector.health.contests import Contests
from fallow_collector.health.history import Cure
from fallow_collector.health.incident import Incident
from fallow_collector.health.kept import ROWS_AT_ONCE, Kept, Place
from fallow_collector.health.power import Power
from fallow_collector.health.recovery import Recovery
from fallow_collector.health.rules import Rules
from fallow_collector.health.shown import of_condition
from fallow_collector.health.tally import Tally, tally
from fallow_collector.health.verdict import Verdict
from fallow_collector.health.ward import DAY_MS, Key, Ward
from fallow_collector.health.words import Mode, Severity
from fallow_collector.idle.reasons import BIT
from fallow_collector.state import BootRow, ConditionRow, EventRow, State
from fallow_proto.metrics import COLUMN
from fallow_proto.states import EventKind
from fallow_proto.v1 import telemetry_pb2 as pb

KINDS = (
    EventKind.XID, EventKind.SXID, EventKind.DEVICE_FAULT, EventKind.KERNEL_MESSAGE, EventKind.DEVICE_VANISHED,
    EventKind.DEVICE_APPEARED, EventKind.READER_STUCK, EventKind.READER_RECOVERED, EventKind.DRIVER_LOADED,
    EventKind.NODE_REBOOTED, EventKind.PORT_DOWN, EventKind.PORT_UP, EventKind.OOM_KILL, EventKind.FILESYSTEM_READ_ONLY,
    EventKind.DEVICE_CONTESTED,
)
"""Events that say something of health."""

OF_HOST = (EventKind.PORT_DOWN, EventKind.OOM_KILL, EventKind.FILESYSTEM_READ_ONLY)
"""What ails a host, and not the accelerators in it."""

WEIGH_S = 5.0
"""Between two looks at all values, which cost 0.4 µs a device; what is told is weighed within a second."""

RESUMED = 200_000
"""Most events of the last day that are taken up at a start."""

OWN_WORD = BIT["device_lost"] | BIT["reset_required"] | BIT["recovery_required"]
"""What a driver itself says of its device is no rule's mistake."""

UNDATED_S = 60.0
"""How long a node may take to its first report, by which its clock is known, before its events count as they came."""

SET_S = 2.0
"""More than that between two looks is no drift: the wall clock was set, or the machine was suspended."""

_BADNESS = np.array([(Verdict.NONE, Verdict.HELD, Verdict.DEGRADED, Verdict.FAILED).index(one) for one in Verdict])

Note = Callable[[EventKind, str, str, str, str], None]
"""(kind, node, uuid or empty, message, who said so)."""


class Board:
    def __init__(self, rules: Rules, fleet: Fleet, state: State, note: Note, now_ms: int) -> None:
        """Takes up what an earlier run kept of the fleet, which is known already. Raises StateError."""
        self._rules = rules
        self._fleet = fleet
        self._state = state
        self._note = note
        self._ward = Ward(rules.incidents, self._model_of)
        self._conditions = Conditions(rules.value)
        self._boots = Boots(state.load_boots())
        self._contests = Contests()
        self._recovery = Recovery()
        self._power = Power()
        self._strange: list[ConditionRow] = []  # in the state, of devices or rules that there are not any more
        self._doubted: frozenset[int] = frozenset()
        self._weighed = -inf
        self._told: list[EventRow] = []  # since the last tick
        self._undated: list[tuple[float, EventRow]] = []  # before, and when: whose node's clock is not known yet
        self._now_ms = now_ms  # of the last tick
        self._lead = nan  # by how many seconds the wall clock was ahead of the monotonic one by then
        self._ward.take(state.events_since(now_ms - DAY_MS, KINDS, RESUMED))
        self._kept = Kept(self._resumed(state.load_conditions(), now_ms))
        self._resume(np.zeros(fleet.count, dtype=np.uint64))

    def _resume(self, reasons: NDArray[np.uint64]) -> None:
        """What was failed is so again before it can be live: by the first tick it could be somebody's."""
        self._ward.tick(self._now_ms)
        self._conditions.step(self._facts(reasons, nan, nan), self._now_ms)
        self._weigh(reasons)

    def take(self, rows: Iterable[EventRow]) -> None:
        """Events, as they come; they count from the next tick at the soonest."""
        self._told += rows

    def hello(self, hello: pb.Hello, wall: float) -> None:
        """A node came, or changed. wall: unix seconds."""
        if self._boots.heard(hello.node, hello.boot_id):
            at = round(wall * 1000)
            self._note(EventKind.NODE_REBOOTED, hello.node, "", "the node was restarted", hello.epoch)
            self._ward.take([EventRow(
                hello.node, hello.epoch, f"boot-{hello.boot_id}", 0, EventKind.NODE_REBOOTED, "", 1, at, at, "",
                source=hello.epoch,
            )])

    def due(self, now: float, wall: float) -> bool:
        """Whether it is time for a tick. now: monotonic; wall: unix seconds."""
        return bool(self._told) or now - self._weighed >= WEIGH_S or self._ward.due(round(wall * 1000))

    def tick(self, reasons: NDArray[np.uint64], now: float, wall: float) -> None:
        """Weigh everything anew. reasons: uint64[count], of the newest snapshot; now: monotonic; wall: unix seconds."""
        self._weighed = now
        self._follow(now, wall)
        now_ms = self._now_ms
        self._take_told(now, wall)
        facts = self._facts(reasons, now, wall)
        for row, asked_ms in self._recovery.step(facts.values["recovery_action"], facts.time_ms):
            key = Key(self._node_of(row), self._fleet.identities[row].uuid)
            off_ms = off_by_ms(self._fleet.nodes[self._fleet.owner[row]], now, wall)
            self._ward.cure(key, Cure("cleared", min(asked_ms - off_ms, now_ms), ""))
        for node, message in self._contests.step(self._fleet.claims(), now):
            self._note(EventKind.DEVICE_CONTESTED, node, "", message, "")
            self._ward.take([EventRow(
                node, "", f"contested-{now_ms}", 0, EventKind.DEVICE_CONTESTED, "", 1, now_ms, now_ms, message,
            )])
        self._ward.tick(now_ms)
        self._conditions.step(facts, now_ms)
        self._weigh(reasons)

    def _weigh(self, reasons: NDArray[np.uint64]) -> None:
        """The verdicts, of all that is known by now."""
        count = len(reasons)
        worst, failed_ms = self._conditions.weigh(self._now_ms, count)
        for key, one in self._ward.open():
            if one.mode is Mode.ENFORCE and one.severity is not Severity.INFO:
                for row in self._rows(key, one):
                    worst[row] = max(int(worst[row]), SEVERITIES.index(one.severity))
                    if one.severity is Severity.FAILED:
                        failed_ms[row] = min(int(failed_ms[row]), one.since_ms)
        verdict = worst  # Severity and Verdict begin alike
        self._break(verdict, failed_ms, reasons)
        self._fleet.verdict[:count] = self._with_partitions(verdict)

    def _with_partitions(self, verdict: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """No partition is better than its board, of which nearly everything is told. After the breaker, to which a
        broken board is one device."""
        parents = self._fleet.parent[: len(verdict)]
        parts = np.flatnonzero(parents != NOBODY)
        own, of_parents = verdict[parts], verdict[parents[parts]]
        verdict[parts] = np.where(_BADNESS[of_parents] > _BADNESS[own], of_parents, own)
        return verdict

    def _follow(self, now: float, wall: float) -> None:
        """How long something is so is measured on the monotonic clock, whatever is done to the wall clock that dates
        it."""
        lead = wall - now
        step_s, self._lead, self._now_ms = lead - self._lead, lead, round(wall * 1000)
        if abs(step_s) > SET_S:
            self._conditions.shift(round(step_s * 1000))
            self._ward.shift(round(step_s * 1000))

    def _take_told(self, now: float, wall: float) -> None:
        """Events count from when they can be dated; a node whose clock is not known has no device that is idle."""
        told, self._told = [*self._undated, *((now, row) for row in self._told)], []
        waits = [now - since < UNDATED_S and not is_datable(row, self._fleet) for since, row in told]
        self._undated = [each for each, wait in zip(told, waits, strict=True) if wait]
        self._ward.take(
            dated(row, self._fleet, now, wall) for (_, row), wait in zip(told, waits, strict=True) if not wait
        )

    def incidents(self, uuid: str, wall: float) -> list[Incident]:
        """Of a device and its node, newest first: those of the last day, and the conditions that hold as of the last
        tick. wall: unix seconds."""
        row = self._fleet.find(uuid)
        if row is None:
            return []
        node = self._node_of(row)
        found = [*self._ward.incidents(Key(node, uuid)), *self._ward.incidents(Key(node, ""))]
        found += [of_condition(held, node, uuid, wall) for held in self._conditions.of_row(row, self._now_ms)]
        return sorted(found, key=lambda one: (-one.since_ms, one.incident_id))

    def in_force(self) -> "InForce":
        """What is enforced in the whole fleet as of the last tick."""
        fleet = self._fleet
        holding = []
        for one in self._conditions.holding(self._now_ms):
            there = fleet.alive[one.rows]
            holding.append(one._replace(**{
                name: getattr(one, name)[there] for name in ("rows", "since_ms", "value", "limit")
            }))
        return InForce([one for _, one in self._ward.open() if one.mode is Mode.ENFORCE], holding)

    def tally(self) -> Tally:
        """How much is wrong in the whole fleet as of the last tick. About 10 ms at 80,000 devices."""
        return tally(
            (one for _, one in self._ward.open()),
            self._conditions.counts(self._now_ms, self._fleet.alive), len(self._doubted),
        )

    def keep(self) -> "Changes":
        """What is not in the state as it is now, bounded by ROWS_AT_ONCE; it counts as kept from now."""
        strange, self._strange = self._strange, []
        places = self._kept.changes(self._conditions.standing(), self._fleet.alive)
        return Changes(
            places, strange, self._boots.changes(),
            [ConditionRow(one.rule, self._uuid(one), one.since_ms) for one in places if one.since_ms],
            [*strange, *(
                ConditionRow(one.rule, self._uuid(one), 0) for one in places
                if not one.since_ms and not self._stands_elsewhere(one)
            )],
        )

    def put_back(self, changes: "Changes") -> None:
        """They could not be kept."""
        self._kept.put_back(changes.places)
        self._strange += changes.strange
        self._boots.put_back(changes.boots)

    def _uuid(self, place: Place) -> str:
        return self._fleet.identities[place.row].uuid

    def _stands_elsewhere(self, place: Place) -> bool:
        """A device that was retired and came back has another row, which speaks for it."""
        row = self._fleet.find(self._uuid(place))
        since_ms = self._conditions.standing()[place.rule]
        return row is not None and row != place.row and row < len(since_ms) and since_ms[row] > 0

    def _resumed(self, rows: Iterable[ConditionRow], now_ms: int) -> Iterator[Place]:
        """Conditions that stood before a restart, and so do not begin later than it."""
        asking = {rule.name for rule in self._rules.value if rule.column == "recovery_action"}
        known = self._conditions.standing()
        for row in rows:
            at = self._fleet.find(row.device)
            if at is None or row.rule not in known:
                self._strange.append(row)
                continue
            self._conditions.resume(row.rule, at, min(row.since_ms, now_ms))
            if row.rule in asking:
                self._recovery.resume(at, row.since_ms)
            yield Place(row.rule, at, row.since_ms)

    def _facts(self, reasons: NDArray[np.uint64], now: float, wall: float) -> Facts:
        fleet, count = self._fleet, len(reasons)
        last_ms = fleet.last_ms[:count]
        columns = {rule.column for rule in self._rules.value if rule.column} | {
            column for rule in self._rules.value if rule.above_per_lane is not None
            for column in (rule.above_per_lane.generation, rule.above_per_lane.lanes)
        } | {"recovery_action", "power_watts", "temperature_celsius"}
        values: dict[str, NDArray[np.float64]] = {}
        for name in columns & COLUMN.keys():
            at = COLUMN[name]
            counts = fleet.good_until_ms[:count, at] >= last_ms
            values[name] = np.where(counts & (last_ms >= 0), fleet.values[:count, at], np.nan)
        values["clock_skew_seconds"] = self._skew(count, now, wall)
        values["power_unreadable"] = self._power.unreadable(
            values["power_watts"], values["temperature_celsius"]
        )
        return Facts(
            values, last_ms, reasons, fleet.group[:count].astype(np.int64), [group.model for group in fleet.groups]
        )

    def _skew(self, count: int, now: float, wall: float) -> NDArray[np.float64]:
        """By how much each device's node differs from our wall clock, the quickest transit included."""
        of_nodes = np.array([
            abs(node.ahead_s(now, wall)) if node.connected else nan for node in self._fleet.nodes
        ] + [nan])
        skew: NDArray[np.float64] = of_nodes[self._fleet.owner[:count]]
        return skew

    def _rows(self, key: Key, one: Incident) -> Iterator[int]:
        """The devices that an incident is about: of an NVSwitch's, NVIDIA's devices of its node; of what ails the host,
        the host's own."""
        fleet = self._fleet
        if key.device:
            row = fleet.find(key.device)
            if row is not None and fleet.has(key.node, key.device):  # of others it has nothing to say
                yield row
            return
        kind = one.rule.partition(" ")[0]
        node = fleet.node(key.node) if kind in (EventKind.SXID, *OF_HOST) else None
        for row in node.rows if node is not None else ():
            if fleet.alive[row] and (
                bool(fleet.host[row]) if kind in OF_HOST
                else fleet.identities[row].vendor == "nvidia" and not fleet.host[row]
            ):
                yield row

    def _break(
        self, verdict: NDArray[np.uint8], failed_ms: NDArray[np.int64], reasons: NDArray[np.uint64]
    ) -> None:
        """Hold what would fail too much of the fleet at once, and say so once for each wave."""
        rows = np.flatnonzero((verdict == Verdict.FAILED) & ((reasons & OWN_WORD) == 0))
        held = rows[doubted(self._rules.breaker, failed_ms[rows], int(self._fleet.alive[: len(verdict)].sum()))]
        verdict[held] = Verdict.HELD
        now_doubted = frozenset(held.tolist())
        fresh = sorted(now_doubted - self._doubted)
        self._doubted = now_doubted
        if fresh:
            breaker, first = self._rules.breaker, fresh[0]
            self._note(
                EventKind.RULES_DOUBTED, self._node_of(first), self._fleet.identities[first].uuid,
                f"rules of health would fail {len(rows)} of {int(self._fleet.alive.sum())} devices, more than "
                f"{breaker.ratio:.0%} and {breaker.devices} within {breaker.within_s:g} s: {len(held)} are not failed, "
                f"beginning with this one; look at what they have in common, and correct the rule", "",
            )

    def _model_of(self, uuid: str) -> str:
        row = self._fleet.find(uuid)
        return "" if row is None else self._fleet.identities[row].model

    def _node_of(self, row: int) -> str:
        name: str = self._fleet.nodes[self._fleet.owner[row]].name
        return name


class InForce(NamedTuple):
    """Incidents that are open, and conditions that hold; nothing in it changes."""

    incidents: list[Incident]
    holding: list[Holding]

    def conditions(
        self, uuid_of: Callable[[int], str], node_of: Callable[[int], str], wall: float
    ) -> Iterator[Incident]:
        """As `Board.incidents` tells them. uuid_of, node_of: of a row. wall: unix seconds."""
        for rule, *columns in self.holding:
            for row, since_ms, value, limit in zip(*(column.tolist() for column in columns), strict=True):
                yield of_condition(Held(rule, since_ms, value, limit), node_of(row), uuid_of(row), wall)


class Changes(NamedTuple):
    """places, strange: what the rows were made of. over: rows to forget."""

    places: list[Place]
    strange: list[ConditionRow]
    boots: list[BootRow]
    conditions: list[ConditionRow]
    over: list[ConditionRow]

    @property
    def partial(self) -> bool:
        """Whether there are more, to be handed over next."""
        return len(self.places) >= ROWS_AT_ONCE

    def save(self, state: State) -> None:
        """Blocks for a flush of the disk. Raises StateError."""
        if self.boots or self.conditions or self.over:
            state.save_health(self.boots, self.conditions, self.over)
