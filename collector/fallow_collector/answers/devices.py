"""One device, its baseline and its events, as the API shows them."""

from typing import Any

import numpy as np

from fallow_collector.answers.numbers import known, milliseconds, rfc3339
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle import host, phase
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.reasons import names
from fallow_collector.idle.state import BaseSource, FloorSource
from fallow_collector.state import EventRow
from fallow_collector.view import Snapshot
from fallow_proto import api
from fallow_proto.metrics import NAMES
from fallow_proto.states import Confidence


def device(fleet: Fleet, engine: Engine, snapshot: Snapshot, row: int) -> Any:  # api.Device
    identity, assessed = fleet.identities[row], snapshot.assessment
    node = fleet.nodes[fleet.owner[row]]
    values = _values(fleet, engine, row)
    return api.Device(
        uuid=identity.uuid, node=node.name, site=node.site, vendor=identity.vendor, model=identity.model,
        index=identity.index, minor=identity.minor, pci_bus_id=identity.pci_bus_id or None,
        parent=identity.parent or None, partition_profile=identity.partition_profile or None,
        device_class=fleet.device_class(row), serial=identity.serial or None,
        driver_version=identity.driver_version or None,
        declared=bool(fleet.declared[row]),
        phase=str(phase.PHASES[assessed.phase[row]]),
        freshness=str(phase.FRESHNESSES[assessed.freshness[row]]),
        health=str(phase.HEALTHS[assessed.health[row]]),
        occupancy=str(phase.OCCUPANCIES[assessed.occupancy[row]]),
        allocation=str(phase.ALLOCATIONS[snapshot.shown["allocation"][row]]),
        service=str(phase.SERVICES[fleet.service[row]]),
        ledger=fleet.ledgers[fleet.ledger[row]],
        confidence=str(Confidence.LOW if assessed.low[row] else Confidence.HIGH),
        reasons=names(int(assessed.reasons[row])),
        age_ms=milliseconds(float(snapshot.age_s[row])),
        since=rfc3339(float(snapshot.since[row])),
        **values,
    )


def newest(fleet: Fleet, row: int) -> dict[str, float]:
    """A device's values that counted at its newest reading, NaN where not known."""
    counts = fleet.good_until_ms[row] >= fleet.last_ms[row]
    return {name: float(fleet.values[row, i]) if counts[i] else np.nan for i, name in enumerate(NAMES)}


def _values(fleet: Fleet, engine: Engine, row: int) -> dict[str, float | None]:
    found = newest(fleet, row)
    values = {name: known(value) for name, value in found.items()}
    values["memory_utilization_ratio"] = known(
        found["memory_usage_bytes"] / found["memory_limit_bytes"] if found["memory_limit_bytes"] else np.nan
    )
    cores = np.array([found["cpu_cores"]])
    values["idle_cores"] = known(float(host.idle_cores(cores, engine.state[row : row + 1])[0]))
    return values


def baseline(fleet: Fleet, engine: Engine, row: int) -> api.Baseline:
    state = engine.state[row]
    source = FloorSource(state["floor_source"])
    prior = engine.idle_power_max_watts(row, newest(fleet, row)["power_limit_watts"])
    return api.Baseline(
        uuid=fleet.identities[row].uuid,
        floor_watts=known(prior if source is FloorSource.PRIOR else float(state["floor_watts"])),
        floor_source=source.name.lower(),
        base_memory_bytes=known(float(state["base_bytes"])),
        base_source=BaseSource(state["base_source"]).name.lower(),
        clean_s=float(state["clean_s"]),
    )


def event(row: EventRow) -> api.Event:
    return api.Event(
        id=row.id, node=row.node, device=row.device or None, kind=row.kind, count=row.many,
        first=rfc3339(row.first_ms / 1000), last=rfc3339(row.last_ms / 1000), message=row.message,
        code=row.code, source=row.source or None,
    )
