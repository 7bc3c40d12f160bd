"""Small fleets for tests of fit: devices as plain facts, put into a real roster."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fit.members import Directory
from fallow_collector.fit.offer import Offer, offer
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle import phase
from fallow_collector.idle.assess import Assessment
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.reasons import BIT
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import WITNESSES
from fallow_proto.metrics import COLUMN
from fallow_proto.states import Health, Phase
from fallow_proto.v1 import telemetry_pb2 as pb

GIB = 2.0**30
NAN = float("nan")
A100, H100, ODD = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3", "Nonesuch 9"

REASON = {
    Phase.IDLE: "", Phase.VERIFYING: "window", Phase.RELEASING: "releasing", Phase.LEASED: "leased",
    Phase.UNMANAGED: "active", Phase.UNKNOWN: "stale", Phase.CORDONED: "cordoned",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """An idle A100 on node n0; NaN and the empty word: not known."""

    uuid: str
    node: str = "n0"
    site: str = "s0"
    rack: str = ""
    link: str = ""
    vendor: str = "nvidia"
    model: str = A100
    device_class: str = "intelligent"
    profile: str = ""
    phase: Phase = Phase.IDLE
    health: Health = Health.OK
    low: bool = False
    age_s: float = 0.5
    limit_bytes: float = 80 * GIB
    used_bytes: float = 1 * GIB
    power_watts: float = 60.0
    power_limit_watts: float = 400.0
    ledger: str = "fallow"


@dataclass(frozen=True, slots=True)
class Judgement:
    assessment: Assessment
    age_s: NDArray[np.float64]
    counted: NDArray[np.bool_]


class Built:
    """A roster with these devices, in the rows in which they are given, and their offer."""

    def __init__(self, devices: Sequence[Facts], device_class: str = "intelligent") -> None:
        self.fleet = _fleet(devices)
        rows = [self.fleet.find(one.uuid) for one in devices]
        self.by_row = {row: one for row, one in zip(rows, devices, strict=True) if row is not None}
        self.facts = [self.by_row[row] for row in range(self.fleet.count)]
        self._fill()
        self.offer: Offer = offer(self.fleet, Directory(self.fleet).members(), self._judgement(), device_class)

    def uuids(self, chosen: NDArray[np.intp]) -> list[str]:
        """Of positions in the offer."""
        return [self.facts[row].uuid for row in self.offer.rows[chosen].tolist()]

    def _fill(self) -> None:
        fleet = self.fleet
        fleet.last_ms[: fleet.count] = 1
        for row, one in enumerate(self.facts):
            for name, value in (
                ("memory_limit_bytes", one.limit_bytes), ("memory_usage_bytes", one.used_bytes),
                ("power_watts", one.power_watts), ("power_limit_watts", one.power_limit_watts),
            ):
                fleet.values[row, COLUMN[name]] = value
                fleet.good_until_ms[row, COLUMN[name]] = 2
            if one.ledger not in fleet.ledgers:
                fleet.ledgers.append(one.ledger)
            fleet.ledger[row] = fleet.ledgers.index(one.ledger)

    def _judgement(self) -> Judgement:
        facts, count = self.facts, self.fleet.count
        none = np.zeros(count, dtype=np.uint8)
        assessed = Assessment(
            freshness=none, occupancy=none,
            health=np.array([phase.HEALTHS.index(one.health) for one in facts], dtype=np.uint8),
            phase=np.array([phase.PHASES.index(one.phase) for one in facts], dtype=np.uint8),
            reasons=np.array([BIT[REASON[one.phase]] if REASON[one.phase] else 0 for one in facts], dtype=np.uint64),
            low=np.array([one.low for one in facts], dtype=np.bool_),
        )
        return Judgement(assessed, np.array([one.age_s for one in facts]), np.ones(count, dtype=np.bool_))


def _fleet(devices: Sequence[Facts]) -> Fleet:
    fleet = Fleet(Engine(IdleSettings()), WITNESSES)
    for name in dict.fromkeys(one.node for one in devices):
        of_node = [one for one in devices if one.node == name]
        fleet.hello(pb.Hello(
            wire=1, node=name, site=of_node[0].site, rack=of_node[0].rack, epoch="e", interval_s=1.0,
            devices=[
                pb.Device(
                    uuid=one.uuid, vendor=one.vendor, model=one.model, device_class=one.device_class,
                    partition_profile=one.profile, link_domain=one.link,
                )
                for one in of_node
            ],
        ), 0.0, 0.0)
    return fleet


def nodes(*free_of: tuple[str, int, int], **facts: object) -> list[Facts]:
    """Nodes as (name, free devices, devices); the others are in use."""
    return [
        replace(Facts(f"{name}-{i}", node=name, phase=Phase.IDLE if i < free else Phase.UNMANAGED), **facts)  # type: ignore[arg-type]
        for name, free, size in free_of for i in range(size)
    ]


def per_node(devices: Sequence[str]) -> dict[str, int]:
    """How many of these devices, named as by `nodes`, are on each node."""
    names = sorted(uuid.rpartition("-")[0] for uuid in devices)
    return {name: len(list(same)) for name, same in groupby(names)}
