"""The collector's answers to the HTTP API, from live state, the state file and the store."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from fallow_collector.answers import capacity, devices, nodes, scrape, totals
from fallow_collector.answers.completeness import incomplete
from fallow_collector.answers.numbers import known, rfc3339
from fallow_collector.answers.processes import processes
from fallow_collector.answers.timeline import open_incidents, timeline
from fallow_collector.api.answers import Asked, Refused, Unavailable, Unknown, Where
from fallow_collector.api.exposition import escape
from fallow_collector.fit.members import Directory
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.health.incident import Incident
from fallow_collector.idle import phase
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.explain import Facts, explain
from fallow_collector.idle.reasons import names
from fallow_collector.idle.standing import Foreign, Standing
from fallow_collector.keep import row_of_seen
from fallow_collector.phases import PhaseLog, following
from fallow_collector.processes.board import OnDevice
from fallow_collector.state import State
from fallow_collector.stores.store import HistoryQuery, Store, StoreError
from fallow_collector.view import Snapshot, View
from fallow_proto import api
from fallow_proto.dispatch import Cordon
from fallow_proto.states import Allocation, DeviceClass, Freshness, Phase

EVENTS_SHOWN = 100
MOMENTS_SHOWN = 50
DAY_S = 86_400.0
SOON_S = 300.0  # a node's clock may be ahead of ours by so much


class Live:
    """Implements api.answers.Answers. All calls but history come from the event loop's thread."""

    def __init__(
        self,
        fleet: Fleet,
        engine: Engine,
        view: View,
        state: State,
        store: Store,
        readiness: Callable[[], list[str]],
        own_metrics: Callable[[], Iterable[tuple[str, str, str, dict[str, str], float]]],
        directory: Directory,
        cordons_on: Callable[[int], Sequence[Cordon]] = lambda row: (),
        holder_of: Callable[[int], str] = lambda row: "",
        retired: Callable[[str], object] = lambda uuid: None,
        incidents: Callable[[str, float], Sequence[Incident]] = lambda uuid, wall: (),
        phases: PhaseLog | None = None,
        on_device: Callable[[int], OnDevice | None] = lambda row: None,
    ) -> None:
        """directory: of the fleet. cordons_on: what stands on the device of a row. holder_of: who has it, by a
        lease or as its scheduler says. retired: hears the uuid of a device that is given up, before it is forgotten.
        incidents: of a device and its node at a moment (unix seconds). phases: a log that follows the view; None: begin
        one now. on_device: the processes on the device of a row."""
        self._fleet = fleet
        self._directory = directory
        self._engine = engine
        self._view = view
        self._state = state
        self._store = store
        self.readiness = readiness
        self.own_metrics = own_metrics
        self._cordons_on = cordons_on
        self._holder_of = holder_of
        self._retired = retired
        self._on_device = on_device
        self._incidents = incidents
        self._phases = phases or following(view)
        self._order: list[tuple[str, int]] = []
        self._order_revision = -1

    def capacity(self, where: Where, precisions: Sequence[str] = api.FLOPS_SHOWN) -> api.Capacity:
        snapshot = self._view.now()
        return capacity.capacity(
            self._fleet, self._engine, snapshot, self._view.epoch, self._wanted(where, snapshot),
            self._directory.members(), precisions,
        )

    def totals(self, where: Where, by: Sequence[str], precision: str) -> api.Totals:
        snapshot = self._view.now()
        return totals.totals(
            self._fleet, self._engine, snapshot, self._view.epoch, self._wanted(where, snapshot), by, precision
        )

    def devices(self, where: Where, limit: int, cursor: str | None) -> "api.Page[api.Device]":
        snapshot = self._view.now()
        wanted = self._wanted(where, snapshot)
        items: list[api.Device] = []
        order = self._by_uuid()
        start = 0 if cursor is None else bisect_right(order, (cursor, self._fleet.count))
        for _, row in order[start:]:
            if wanted[row]:
                if len(items) == limit:
                    return self._page(items, items[-1].uuid, snapshot)
                items.append(devices.device(self._fleet, self._engine, snapshot, row))
        return self._page(items, None, snapshot)

    def device(self, uuid: str) -> api.DeviceDetail:
        row = self._row(uuid)
        snapshot = self._view.now()
        now = snapshot.as_of
        return api.DeviceDetail(
            device=devices.device(self._fleet, self._engine, snapshot, row),
            baseline=devices.baseline(self._fleet, self._engine, row),
            events=[devices.event(event) for event in self._state.events_of(uuid, EVENTS_SHOWN)],
            incidents=open_incidents(self._incidents(uuid, now)),
            timeline=self.timeline(uuid, now - DAY_S, now + SOON_S, MOMENTS_SHOWN).items,
            processes=processes(self._on_device(row)),
        )

    def timeline(self, uuid: str, start: float, end: float, limit: int) -> api.Page[api.Moment]:
        row = self._row(uuid)
        snapshot = self._view.now()
        events = self._state.events_between(uuid, round(start * 1000), round(end * 1000), limit + 1)
        moments, following_end = timeline(
            events, self._incidents(uuid, snapshot.as_of), self._phases.of(row, start, end), start, end, limit
        )
        return api.Page(
            items=moments, next=following_end, as_of=rfc3339(snapshot.as_of), complete=self._phases.since <= start
        )

    def explain(self, uuid: str) -> api.Explanation:
        row = self._row(uuid)
        snapshot = self._view.now()
        fleet, assessed = self._fleet, snapshot.assessment
        identity = fleet.identities[row]
        facts = Facts(
            state=self._engine.state[row],
            values=devices.newest(fleet, row),
            reasons=int(assessed.reasons[row]),
            freshness=phase.FRESHNESSES[assessed.freshness[row]],
            age_s=float(snapshot.age_s[row]),
            interval_s=float(fleet.interval_s[row]),
            last_ms=int(fleet.last_ms[row]),
            host=identity.device_class == DeviceClass.GENERAL,
            unsupported=frozenset(identity.unsupported),
            overridden=self._engine.overridden(row),
            idle_power_max_watts=self._engine.idle_range(row)[0],
            base_memory_max_bytes=self._engine.idle_range(row)[1],
            health=phase.HEALTHS[assessed.health[row]],
            standing=self._standing(row, snapshot),
        )
        return api.Explanation(
            uuid=uuid,
            phase=str(phase.PHASES[assessed.phase[row]]),
            as_of=rfc3339(snapshot.as_of),
            reasons=names(facts.reasons),
            predicates=[
                api.Predicate(
                    name=rule.name, holds=rule.holds, value=rule.value, threshold=rule.threshold,
                    since=None if rule.since_ms is None else rfc3339(rule.since_ms / 1000), next=rule.next,
                )
                for rule in explain(self._engine.thresholds(row), facts)
            ],
        )

    def nodes(self, where: Where, limit: int, cursor: str | None) -> api.Page[api.Node]:
        snapshot = self._view.now()
        found = sorted(
            (node for node in self._fleet.nodes
             if node.name and node.name > (cursor or "")
             and (not where.site or node.site in where.site) and (not where.node or node.name in where.node)),
            key=lambda node: node.name,
        )
        items = [nodes.node(self._fleet, snapshot, node) for node in found[:limit]]
        return self._page(items, items[-1].node if len(found) > limit else None, snapshot)

    def history(self, asked: Asked) -> api.History:
        if self._fleet.find(asked.uuid) is None:
            raise Unknown(f"there is no device {asked.uuid}; `fallow devices` lists those that there are")
        try:
            table = self._store.history(HistoryQuery(asked.uuid, asked.columns, asked.start, asked.end, asked.step))
        except StoreError as error:
            raise Unavailable(f"the store cannot answer now: {error}") from error
        return api.History(
            columns=["time", *asked.columns],
            rows=[
                [time, *map(known, values)]
                for time, values in zip(table.time.tolist(), table.values.tolist(), strict=True)
            ],
        )

    def declare(self, declaration: api.Declaration) -> api.DeclarationResult:
        new, rows = 0, []
        for device in declaration.devices:
            new += self._fleet.declare(
                device.uuid, device.node, device.site, device.vendor, device.model, device.device_class
            )
            rows.append(self._row(device.uuid))
        self._state.save_seen([row_of_seen(self._fleet.seen(row)) for row in rows])
        self._view.refresh()
        return api.DeclarationResult(declared=new, already=len(rows) - new)

    def retire(self, uuid: str) -> None:
        row = self._row(uuid)
        if self._fleet.present[row]:
            raise Refused(
                f"{uuid} is in the last report of devices of node {self._fleet.nodes[self._fleet.owner[row]].name}; "
                f"only an absent device can be retired: stop its agent's reading of it, or the node, first"
            )
        if phase.ALLOCATIONS[self._fleet.allocation[row]] not in (Allocation.FREE, Allocation.RELEASING):
            raise Refused(f"{uuid} is of a lease that has not ended; release that first, see `fallow leases`")
        self._retired(uuid)
        self._state.retire(uuid)
        self._fleet.retire(row)
        self._view.refresh()

    def accept_baseline(self, uuid: str) -> api.Baseline:
        row = self._row(uuid)
        if self._view.now().assessment.freshness[row] != phase.FRESHNESSES.index(Freshness.LIVE):
            raise Refused(f"{uuid} has no fresh reading to take for a baseline; see `fallow explain {uuid}`")
        values = devices.newest(self._fleet, row)
        if values["processes"] > 0:
            raise Refused(f"{uuid} is in use by {values['processes']:.0f} processes, so what it holds is not its base")
        listed = not self._fleet.host[row] and "processes" not in self._fleet.identities[row].unsupported
        if listed and np.isnan(values["processes"]):
            raise Refused(f"the processes on {uuid} cannot be read now, so what it holds may be theirs; ask again when "
                          f"`fallow device {uuid}` shows them")
        if values["utilization_ratio"] >= self._engine.thresholds(row).utilization_on_ratio:
            raise Refused(f"{uuid} is at work ({values['utilization_ratio']:.0%}), so what it draws is not its floor")
        self._engine.accept(row, values["power_watts"], values["memory_usage_bytes"])
        return devices.baseline(self._fleet, self._engine, row)

    def site_of(self, uuid: str) -> str | None:
        row = self._fleet.find(uuid)
        return None if row is None else self._fleet.site_of(row)

    def site_of_node(self, node: str) -> str | None:
        known = self._fleet.node(node)
        return None if known is None else known.site

    def device_metrics(self, where: Where) -> Iterable[bytes]:
        snapshot = self._view.now()
        rows = np.flatnonzero(self._wanted(where, snapshot))
        return scrape.device_metrics(self._fleet, snapshot, rows, escape)

    def _standing(self, row: int, snapshot: Snapshot) -> Standing:
        fleet = self._fleet
        since = snapshot.as_of - (snapshot.now - float(fleet.allocated_at[row]))
        found = self._on_device(row)
        return Standing(
            allocation=phase.ALLOCATIONS[snapshot.shown["allocation"][row]],
            ledger=fleet.ledgers[fleet.ledger[row]],
            holder=self._holder_of(row),
            since_ms=round(since * 1000) if np.isfinite(since) else None,
            cordons=self._cordons_on(row),
            foreign=[Foreign(one.told, one.since_ms) for one in found.proven] if found is not None else (),
        )

    def _page(self, items: list, cursor: str | None, snapshot: Snapshot) -> api.Page:  # type: ignore[type-arg]
        missing = incomplete(self._fleet, snapshot.assessment.freshness[snapshot.counted])
        return api.Page(items=items, next=cursor, as_of=rfc3339(snapshot.as_of), complete=not missing)

    def _row(self, uuid: str) -> int:
        row = self._fleet.find(uuid)
        if row is None:
            raise Unknown(f"there is no device {uuid}; `fallow devices` lists those that there are")
        return row

    def _wanted(self, where: Where, snapshot: Snapshot) -> NDArray[np.bool_]:
        """bool[count], devices that the filters let through."""
        fleet, count = self._fleet, self._fleet.count
        wanted = fleet.alive[:count].copy()
        for words, position in ((where.site, 0), (where.device_class, 1), (where.vendor, 2), (where.model, 3)):
            if words:
                match = np.array([key[position] in words for key in fleet.groups], dtype=np.bool_)
                wanted &= match[fleet.group[:count]]
        if where.node:
            match = np.array([node.name in where.node for node in fleet.nodes], dtype=np.bool_)
            wanted &= match[fleet.owner[:count]]
        if where.phase:
            codes = [phase.PHASES.index(Phase(word)) for word in where.phase]
            wanted &= np.isin(snapshot.assessment.phase, codes)
        return wanted

    def _by_uuid(self) -> list[tuple[str, int]]:
        if self._order_revision != self._fleet.rows_revision:
            self._order = sorted((identity.uuid, row) for row, identity in enumerate(self._fleet.identities)
                                 if self._fleet.alive[row])
            self._order_revision = self._fleet.rows_revision
        return self._order
