"""Real telemetry of eight MI300X as the regression test of the judgement: it goes through the collector's pipeline with
a recording on, comes out of the recording as it went in, and says what it said when the expectation was written.

Its source: https://github.com/cmontemuino/amd-mi300x-ml-benchmarks
"""

import gzip
import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import pytest

from fallow_collector.idle import phase
from fallow_collector.idle.reasons import names
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import WITNESSES
from fallow_collector.ingest.session import Terms
from fallow_collector.pipeline import Pipeline
from fallow_collector.replay.frames import read
from fallow_collector.replay.recorder import COMPLETE, Recorder
from fallow_collector.replay.replay import replay
from fallow_collector.replay.taped import TapedEngine, TapedFleet
from fallow_collector.view import Snapshot, View
from fallow_collector.writer import Writer
from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_sim.replay import Replay, replay_reports
from tests.collector.memory_store import MemoryStore

EXPECTED = Path(__file__).parent / "expected"
INTERVAL_S = 5.0
START = 1_700_000_000.0  # unix seconds at which the collector starts, whose monotonic clock shows 0 then


class Collector:
    """The pipeline, with a clock in its hand. Notes which phase each device comes into, and when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.engine = TapedEngine(IdleSettings())
        self.fleet = TapedFleet(self.engine, WITNESSES)
        self.pipeline = Pipeline(self.fleet, Writer(MemoryStore(), self.fleet.series), Terms("test", 120.0))
        self.view = View(self.fleet, self.engine, lambda: self.now, lambda: START + self.now)
        self.phases: list[str] = []
        self.every_revision = blake2b(digest_size=16)
        self.view.follow(self._note)
        self.stream = self.pipeline.streams.open(None, lambda: None)

    def says(self, message: pb.FromAgent) -> None:
        self.pipeline.streams.received(self.stream, message.SerializeToString(), self.now, START + self.now)
        assert self.stream.closed is None, self.stream.closed

    def turn(self) -> None:
        self.pipeline.flush(self.now)
        self.view.refresh()

    def _note(self, snapshot: Snapshot) -> None:
        for row, before in zip(snapshot.changed.tolist(), snapshot.before, strict=True):
            shown = snapshot.shown
            word = phase.PHASES[shown["phase"][row]]
            why = " ".join(names(int(shown["reasons"][row])))
            self.every_revision.update(f"{snapshot.revision} {row} {word} {why}\n".encode())
            if not before["alive"] or before["phase"] != shown["phase"][row]:
                self.phases.append(f"{snapshot.now:8.1f} s  {self.fleet.identities[row].uuid}  {word}")


def live(file: Path) -> tuple[Collector, Recorder]:
    moments = list(replay_reports(file, INTERVAL_S))
    node = Replay(moments, node="n1", site="s1", start=START, speed=1.0, interval_s=INTERVAL_S)
    node.epoch = "epoch"
    collector = Collector()
    recorder = Recorder(collector.fleet, collector.engine, collector.view, "test", 0.0, START)
    collector.says(pb.FromAgent(hello=node.hello()))
    collector.says(pb.FromAgent(layout=node.layout))
    for seq in range(1, len(moments) + 1):
        due = node.due(seq) - START
        while collector.now + 1.0 < due:  # time passes between reports, and while there are none
            collector.now += 1.0
            collector.view.refresh()
        collector.now = due
        batch = pb.Reports(epoch=node.epoch, layout=node.layout.hash, lane=pb.LANE_JUDGED)
        node.fill(batch, seq, seq)
        collector.says(pb.FromAgent(reports=batch))
        collector.turn()
    return collector, recorder


def expected_lines(collector: Collector) -> Iterator[str]:
    yield f"revisions {collector.view.revision}, phases and reasons of each {collector.every_revision.hexdigest()}"
    yield from collector.phases


@pytest.mark.parametrize("name", ["mi300x_8gpu_bs1", "mi300x_8gpu_bs8"])
def test_real_telemetry_is_judged_as_before_and_comes_out_of_its_recording_bit_for_bit(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    """FALLOW_GOLDEN=write makes the expectation anew, for a judgement that is meant to differ."""
    collector, recorder = live(shared_data / f"{name}.csv.gz")
    recorder.end(COMPLETE)
    file = tmp_path / "recording.gz"
    file.write_bytes(gzip.compress(b"".join(recorder.state()) + recorder.taken(), compresslevel=1))
    outcome = replay(read(file))
    assert outcome.difference is None
    assert (outcome.last_revision, outcome.devices) == (collector.view.revision, 8)
    lines = list(expected_lines(collector))
    expected = EXPECTED / f"{name}.txt"
    if os.environ.get("FALLOW_GOLDEN") == "write":
        expected.write_text("".join(f"{line}\n" for line in lines))
    assert lines[1:] == expected.read_text().splitlines()[1:], "devices came into other phases, or at other moments"
    assert lines[0] == expected.read_text().splitlines()[0], "the same phases for other reasons"
