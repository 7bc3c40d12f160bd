"""A recording as a node that speaks the protocol."""

from bisect import bisect_left
from collections.abc import Iterator
from math import nan
from pathlib import Path
from uuid import uuid4

from fallow_proto import WIRE
from fallow_proto.codec import layout_of
from fallow_proto.metrics import NAMES, Group
from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_sim.beat import Beat
from fallow_sim.node import Node
from fallow_sim.recording import METRICS, Moment, RecordingError, read, reports

VENDOR, MODEL = "amd", "AMD Instinct MI300X"
POWER_LIMIT_WATTS = 750.0  # of the model; the recording does not say
READER = "replay"
_LIMIT = "power_limit_watts"
_OF_HOSTS = {"cpu_cores", "cpu_busy_cores", "cpu_pressure_ratio", "memory_available_bytes", "job_processes"}
UNSUPPORTED = sorted(set(NAMES) - set(METRICS) - {_LIMIT} - _OF_HOSTS)


class Replay:
    """A source of reports: number n is the n-th moment of the recording.

    Their times are shifted so that the last one, sent `speed` times as fast as recorded, is of the moment it is sent:
    a collector's store refuses what comes from the future.
    """

    def __init__(
        self, moments: list[Moment], *, node: str, site: str, start: float, speed: float, interval_s: float
    ) -> None:
        """start: unix seconds, when the first is sent. Raises RecordingError if there is no moment."""
        if not moments:
            raise RecordingError(f"the recording of {node} is empty; expected at least one row")
        self.epoch = uuid4().hex
        self.moments = moments
        self.start = start
        self._speed = speed
        length = moments[-1].time - moments[0].time
        self._shift = start + length / speed - length - moments[0].time
        self._node = node
        self._site = site
        self._interval_s = interval_s
        self._names = sorted({device for moment in moments for device in moment.readings})
        uuids = [f"SIM-{node}-{name}" for name in self._names]
        self._uuids = uuids
        self.layout = layout_of([
            pb.Block(reader=READER, group=Group.FAST, interval_s=interval_s, devices=uuids, gauges=METRICS),
            pb.Block(reader=READER, group=Group.MEDIUM, interval_s=interval_s, devices=uuids, gauges=[_LIMIT]),
        ])

    def hello(self) -> pb.Hello:
        return pb.Hello(
            wire=WIRE, agent_version="fallow-sim", site=self._site, node=self._node, epoch=self.epoch,
            devices=[
                pb.Device(
                    uuid=uuid, vendor=VENDOR, model=MODEL, device_class="intelligent", index=index, minor=index,
                    reader=READER, unsupported=UNSUPPORTED,
                )
                for index, uuid in enumerate(self._uuids)
            ],
            readers=[pb.Reader(name=READER, state="ok")],
            interval_s=self._interval_s,
        )

    def fill(self, batch: pb.Reports, lo: int, hi: int) -> None:
        for seq in range(lo, hi + 1):
            time, readings = self.moments[seq - 1]
            report = batch.reports.add(seq=seq, previous=seq - 1, time_ms=round(1000 * (time + self._shift)))
            report.readings.add(
                block=0,
                gauges=[readings.get(name, {}).get(metric, nan) for name in self._names for metric in METRICS],
                reasons=[pb.REASON_OK if name in readings else pb.REASON_FAILED for name in self._names],
            )
            report.readings.add(block=1, gauges=[POWER_LIMIT_WATTS] * len(self._names))

    def due(self, seq: int) -> float:
        return self.start + (self.moments[seq - 1].time - self.moments[0].time) / self._speed

    def oldest_within(self, newest: int, seconds: float) -> int:
        if newest == 0:
            return 1
        oldest = self.moments[newest - 1].time - seconds
        return 1 + bisect_left(self.moments, oldest, key=lambda moment: moment.time)


def beats(node: Node, replay: Replay) -> Iterator[Beat]:
    def advance() -> None:
        node.newest += 1

    for seq in range(1, len(replay.moments) + 1):
        yield Beat(replay.due(seq) - replay.start, advance, [node])


def replay_reports(path: Path, interval_s: float) -> Iterator[Moment]:
    """What the node in the file would have reported. Raises RecordingError."""
    return reports(read(path), interval_s)
