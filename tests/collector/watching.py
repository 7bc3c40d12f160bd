"""A small fleet under watch, for tests: readings go in as dictionaries, through real layouts and reports."""

from collections.abc import Iterable, Mapping

import numpy as np

from fallow_collector.fleet.arrival import Arrival, decode
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.fleet.layouts import bind
from fallow_collector.idle import phase
from fallow_collector.idle.assess import Assessment, Presence
from fallow_collector.idle.engine import Engine
from fallow_collector.idle.reasons import names
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import WITNESSES
from fallow_proto.codec import layout_of
from fallow_proto.metrics import BY_NAME, NAMES, Kind
from fallow_proto.v1 import telemetry_pb2 as pb

GIB = 2.0**30
NAN = float("nan")

IDLE = {
    "utilization_ratio": 0.0,
    "power_watts": 60.0,
    "power_limit_watts": 400.0,
    "memory_usage_bytes": 0.6 * GIB,
    "memory_limit_bytes": 80 * GIB,
    "processes": 0.0,
}
BUSY = {**IDLE, "utilization_ratio": 0.97, "power_watts": 390.0, "memory_usage_bytes": 71 * GIB, "processes": 1.0}
HOLDING = {**IDLE, "power_watts": 62.0, "memory_usage_bytes": 20 * GIB, "processes": 1.0}
HOST = {
    "utilization_ratio": 0.01,
    "cpu_cores": 64.0,
    "cpu_busy_cores": 0.5,
    "cpu_pressure_ratio": 0.0,
    "memory_usage_bytes": 8 * GIB,
    "memory_limit_bytes": 512 * GIB,
    "memory_available_bytes": 500 * GIB,
    "job_processes": 0.0,
}


def device(uuid: str, **more: object) -> pb.Device:
    return pb.Device(**{
        "uuid": uuid, "vendor": "nvidia", "model": "NVIDIA A100-SXM4-80GB", "device_class": "intelligent",
        "driver_version": "550.54.15", **more,
    })  # type: ignore[arg-type]


class Watched:
    """One node and its devices. `now` is the collector's monotonic clock; the agent's wall clock is that plus a lot."""

    WALL = 1_700_000_000.0

    def __init__(
        self, *devices: pb.Device, settings: IdleSettings | None = None, interval_s: float = 1.0, node: str = "n1",
        fleet: Fleet | None = None, engine: Engine | None = None, epoch: str = "e1", now: float = 1000.0,
        site: str = "s1",
    ) -> None:
        self.engine = engine or Engine(settings or IdleSettings())
        self.fleet = fleet or Fleet(self.engine, WITNESSES)
        self.devices = devices or (device("g0"),)
        self.node, self.interval_s, self.epoch, self.now, self.site = node, interval_s, epoch, now, site
        self.seq = 0
        self.skew = self.WALL
        self.hello()

    def hello(self, **more: object) -> None:
        self.fleet.hello(
            pb.Hello(
                wire=1, node=self.node, site=self.site, epoch=self.epoch, devices=self.devices,
                interval_s=self.interval_s, **more,  # type: ignore[arg-type]
            ),
            self.now, self.skew + self.now,
        )
        gauges = [name for name in NAMES if BY_NAME[name].kind is Kind.GAUGE]
        counters = [name for name in NAMES if BY_NAME[name].kind is Kind.COUNTER]
        layout = layout_of([
            pb.Block(
                reader="r", group="fast", interval_s=self.interval_s, devices=[d.uuid for d in self.devices],
                gauges=gauges, counters=counters,
            )
        ])
        self.gauges, self.counters = gauges, counters
        self.binding = bind(self.fleet, self.fleet.node_number(self.node), layout)

    def restart_agent(self) -> None:
        self.epoch += "'"
        self.seq = 0
        self.hello()

    def report(
        self, *readings: Mapping[str, float], reasons: Iterable[int] = (), time: float | None = None
    ) -> Arrival:
        """The next report, stamped now; it is not applied."""
        previous, self.seq = self.seq, self.seq + 1
        message = pb.Report(
            seq=self.seq, previous=previous,
            time_ms=round((self.skew + (self.now if time is None else time)) * 1000),
            readings=[pb.Readings(
                block=0,
                gauges=[r.get(name, NAN) for r in readings for name in self.gauges],
                counters=[r.get(name, NAN) for r in readings for name in self.counters],
                reasons=list(reasons),  # type: ignore[arg-type]
            )],
        )
        return decode(self.binding, self.epoch, message, self.now)

    def says(self, *readings: Mapping[str, float], reasons: Iterable[int] = ()) -> None:
        self.fleet.apply([self.report(*readings, reasons=reasons)])

    def stays(self, seconds: float, *readings: Mapping[str, float]) -> None:
        """The same readings once an interval for so long; time passes."""
        for _ in range(round(seconds / self.interval_s)):
            self.now += self.interval_s
            self.says(*readings)

    def misses(self, seconds: float) -> None:
        """Readings that were never made: time passes, and no report is numbered."""
        self.now += seconds

    def assess(self) -> Assessment:
        count = self.fleet.count
        return self.engine.assess(count, Presence(
            self.fleet.age_s(self.now), self.fleet.interval_s[:count], self.fleet.present[:count],
            self.fleet.owned(), self.fleet.service[:count], np.zeros(count, dtype=np.bool_),
            self.fleet.verdict[:count], self.fleet.foreign[:count],
        ))

    def phase(self, row: int = 0) -> str:
        return str(phase.PHASES[self.assess().phase[row]])

    def reasons(self, row: int = 0) -> list[str]:
        return names(int(self.assess().reasons[row]))

    def is_low(self, row: int = 0) -> bool:
        return bool(self.assess().low[row])
