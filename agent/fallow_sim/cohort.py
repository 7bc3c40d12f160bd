"""Nodes that report at the same moments, so that their numbers are computed together."""

from typing import NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_sim import identity
from fallow_sim.identity import MEDIUM_S, Plan, device_uuid
from fallow_sim.load import COUNTERS, GAUGES, Load
from fallow_sim.node import Node
from fallow_sim.packing import Packing

KEPT = 4  # reports of all nodes that are kept packed, for nodes whose wire is a little behind


class Packed(NamedTuple):
    """One report of one node; medium: the counters of its medium group, which not every report carries."""

    gauges: bytes
    counters: bytes
    medium: bytes


class Cohort:
    """Reports are numbered from 1; number n is of the moment first + (n - 1) * interval."""

    def __init__(self, plan: Plan, numbers: list[int], first: float) -> None:
        """numbers: of the nodes in the fleet; first: unix seconds."""
        self.plan = plan
        self.first = first
        self._numbers = numbers
        self.load = Load(plan.profile, numbers, plan.devices, plan.seed, first)
        self.uuids = [device_uuid(plan.seed, number, index) for number in numbers for index in range(plan.devices)]
        self.nodes = [Node(Member(self, position, number)) for position, number in enumerate(numbers)]
        self._rows = np.arange(len(numbers) * plan.devices)
        self._gauge_columns = [GAUGES.index(name) for name in plan.gauges]
        self._counter_columns = [COUNTERS.index(name) for name in plan.counters]
        self._packing = Packing(plan.devices * len(plan.gauges), plan.devices * len(plan.counters))
        self._medium_columns = [COUNTERS.index(name) for name in plan.medium_counters]
        self._medium = Packing(
            plan.devices * len(plan.medium_gauges), plan.devices * len(plan.medium_counters)
        )
        self._limits = np.full(plan.devices * len(plan.medium_gauges), plan.profile.limit_watts, "<f4").tobytes()
        self._has_medium = bool(plan.medium_gauges or plan.medium_counters)
        self._medium_every = max(1, round(MEDIUM_S / plan.interval_s))
        self._packed: dict[int, list[Packed]] = {}  # by seq, then by node

    def time_of(self, seq: int) -> float:
        return self.first + (seq - 1) * self.plan.interval_s

    def advance(self, seq: int) -> None:
        """Make this report of every node the newest one."""
        self._packed[seq] = self._pack(self._rows, np.full(len(self._rows), self.time_of(seq)))
        self._packed.pop(seq - KEPT, None)
        for node in self.nodes:
            node.newest = seq

    def fill(self, batch: pb.Reports, position: int, lo: int, hi: int) -> None:
        """Append the reports lo..hi of one node."""
        if lo in self._packed and hi in self._packed:
            packed = [self._packed[seq][position] for seq in range(lo, hi + 1)]
        else:
            times = self.first + np.arange(lo - 1, hi) * self.plan.interval_s
            rows = np.arange(position * self.plan.devices, (position + 1) * self.plan.devices)
            packed = self._pack(np.tile(rows, len(times)), np.repeat(times, self.plan.devices))
        for seq, (gauges, counters, medium) in enumerate(packed, start=lo):
            report = batch.reports.add(seq=seq, previous=seq - 1, time_ms=round(self.time_of(seq) * 1000))
            self._packing.fill(report.readings.add(block=0), gauges, counters)
            if self._has_medium and (seq == 1 or (seq + self._numbers[position]) % self._medium_every == 0):
                self._medium.fill(report.readings.add(block=1), self._limits, medium)

    def _pack(self, rows: NDArray[np.int64], times: NDArray[np.float64]) -> list["Packed"]:
        """What every node's worth of devices says."""
        readings = self.load.at(rows, times)
        gauges = readings.gauges[:, self._gauge_columns].astype("<f4", copy=False)
        counters = readings.counters[:, self._counter_columns].astype("<f8", copy=False)
        medium = readings.counters[:, self._medium_columns].astype("<f8", copy=False)
        step = self.plan.devices
        return [
            Packed(*(numbers[row : row + step].tobytes() for numbers in (gauges, counters, medium)))
            for row in range(0, len(rows), step)
        ]


class Member:
    """One node of a cohort, as a source of reports."""

    def __init__(self, cohort: Cohort, position: int, number: int) -> None:
        self.epoch = uuid4().hex
        self._uuids = cohort.uuids[position * cohort.plan.devices : (position + 1) * cohort.plan.devices]
        self._cohort = cohort
        self._position = position
        self._number = number
        self.layout = identity.layout(cohort.plan, self._uuids)

    def hello(self) -> pb.Hello:
        return identity.hello(self._cohort.plan, self._number, self._uuids, self.epoch)

    def fill(self, batch: pb.Reports, lo: int, hi: int) -> None:
        self._cohort.fill(batch, self._position, lo, hi)

    def due(self, seq: int) -> float:
        return self._cohort.time_of(seq)

    def oldest_within(self, newest: int, seconds: float) -> int:
        return max(1, newest - int(seconds / self._cohort.plan.interval_s))
