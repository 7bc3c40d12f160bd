"""Everything that an agent said comes again, on streams of their own: an old capture, or an agent that went mad."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest

from fallow_proto.v1 import telemetry_pb2 as pb
from tests.e2e.programs import DEADLINE_S, until
from tests.faults.programs import Scene
from tests.faults.table import cycles, record, row_of
from tests.faults.tap import SERVICE

pytestmark = pytest.mark.server("cc")


def say_again(to: str, said: list[bytes]) -> int:
    """How many reports the collector says that it has, when it was told all of it once more."""
    last = max(report.seq for packet in said for report in pb.FromAgent.FromString(packet).reports.reports)
    enough = Event()

    def requests() -> Iterator[bytes]:
        yield from said
        enough.wait(DEADLINE_S)  # the collector says no more to whom has ended

    with grpc.insecure_channel(to) as channel:
        connect: Any = channel.stream_stream(f"/{SERVICE}/Stream")
        call = connect(requests())
        known = 0
        for packet in call:
            message = pb.ToAgent.FromString(packet)
            for stored in (*message.welcome.stored, *message.ack.stored):
                known = max([known, *(pair.hi for pair in stored.ranges)])
            if known >= last:
                enough.set()
                call.cancel()
                return known
    raise AssertionError(f"the collector ended the stream at report {known} of {last}")


def test_reports_that_come_again_are_stored_once(tmp_path: Path, nvml_library: Path) -> None:
    times = cycles(short=3, long=100)
    with Scene(tmp_path, nvml_library) as scene:
        scene.tap.said = []
        scene.node.kill()
        scene.node.start()
        scene.node.wait_for_readings(30)
        until(lambda: scene.tap.acknowledged[scene.node.name], "an acknowledgement")
        scene.node.stop()
        said = scene.tap.said
        for _ in range(times):
            assert say_again(scene.collector.grpc, said) > 0
        scene.settle()
        [found] = scene.verdicts()
    record(row_of("everything said again", times, [found]))
    assert not found.lost
    assert not found.doubled
    assert not found.invented
