"""What was recorded comes out again, bit for bit; and where the judgement differs, the first difference is found."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fallow_collector.idle import phase
from fallow_collector.idle.settings import IdleSettings
from fallow_collector.idle.state import WITNESSES
from fallow_collector.replay import frames
from fallow_collector.replay.frames import BadRecording, Frame, encoded, read
from fallow_collector.replay.recorder import COMPLETE, TOO_SLOW, Recorder
from fallow_collector.replay.replay import Outcome, replay
from fallow_collector.replay.taped import TapedEngine, TapedFleet
from fallow_collector.view import View
from fallow_proto.states import Allocation, Service
from tests.collector.watching import BUSY, HOLDING, IDLE, Watched, device

QUICK = IdleSettings(confirm_s=6.0, confirm_readings=4, conflict_s=3.0, unmanaged_s=3.0, frozen_s=3.0, evidence_s=20.0)
LEASED = phase.ALLOCATIONS.index(Allocation.LEASED)
CORDONED = phase.SERVICES.index(Service.CORDONED)


class Site:
    """Two devices under watch, with a tape."""

    def __init__(self) -> None:
        self.engine = TapedEngine(QUICK)
        self.fleet = TapedFleet(self.engine, WITNESSES)
        self.node = Watched(device("g0"), device("g1"), fleet=self.fleet, engine=self.engine)
        self.view = View(self.fleet, self.engine, lambda: self.node.now, lambda: self.node.skew + self.node.now)

    def record(self, room_bytes: int = 2**26) -> Recorder:
        return Recorder(self.fleet, self.engine, self.view, "1.2.3", self.node.now, self.node.now, room_bytes)

    def lives(self, seconds: int, *readings: dict[str, float]) -> None:
        for _ in range(seconds):
            self.node.stays(1.0, *readings)
            self.view.refresh()


def bytes_of(recorder: Recorder, reason: str = COMPLETE) -> bytes:
    recorder.end(reason)
    return b"".join(recorder.state()) + recorder.taken()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recording.gz"


def written(file: Path, data: bytes) -> Path:


    file.write_bytes(gzip.compress(data))
    return file


def everything(site: Site) -> Recorder:
    """Something of all that can be put into the judgement."""
    site.lives(10, IDLE, BUSY)
    recorder = site.record()
    site.lives(3, IDLE, HOLDING)
    site.fleet.allocation[0] = LEASED
    site.fleet.allocated_at[0] = site.node.now
    site.lives(3, BUSY, IDLE)
    site.fleet.allocation[0] = 0
    site.engine.restart(np.array([0, 1]), short=True)
    site.fleet.ledgers.append("slurm")
    site.fleet.ledger[1], site.fleet.service[1] = 1, CORDONED
    site.lives(12, IDLE, IDLE)
    site.engine.accept(0, 61.0, 1e9)
    site.fleet.declare("declared", "n9", "s2", "amd", "MI300X", "")
    site.lives(2, IDLE, IDLE)
    site.fleet.gone("n1", site.node.now)
    second = Watched(device("h0"), node="n2", fleet=site.fleet, engine=site.engine, now=site.node.now)
    second.stays(2, IDLE)
    site.fleet.row_of(site.fleet.node_number("n3"), "ghost")
    site.node.devices = site.node.devices[:1]
    site.node.restart_agent()
    site.lives(4, BUSY)
    row = site.fleet.find("g1")
    assert row is not None
    site.fleet.retire(row)
    site.node.misses(40)
    site.view.refresh()
    return recorder


def outcome_of(file: Path) -> Outcome:
    return replay(read(file))


def test_all_that_can_happen_comes_out_as_it_was_recorded(file: Path) -> None:
    site = Site()
    recorder = everything(site)
    outcome = outcome_of(written(file, bytes_of(recorder)))
    assert outcome.difference is None
    assert (outcome.last_revision, outcome.devices) == (site.view.revision, site.fleet.count)
    assert outcome.last_revision - outcome.first_revision == 8, "or nothing much was compared"
    assert (outcome.ended, outcome.version) == (COMPLETE, "1.2.3")
    kinds = {type(frame) for frame in read(file)}
    assert kinds == set(Frame.__args__), "each kind of frame is tried here"


def test_the_same_recording_has_the_same_digest_and_another_one_has_not(file: Path) -> None:
    first = outcome_of(written(file, bytes_of(everything(Site()))))
    assert outcome_of(file).digest == first.digest
    site = Site()
    recorder = site.record()
    site.lives(3, IDLE, IDLE)
    assert outcome_of(written(file, bytes_of(recorder))).digest != first.digest


def test_a_judgement_that_differs_is_named_with_its_first_device_and_axis(file: Path) -> None:
    site = Site()
    recorder = site.record()
    site.lives(9, IDLE, IDLE)
    written(file, bytes_of(recorder))

    def stricter() -> Iterator[Frame]:
        """What the recording would be worth if devices had to be quiet for longer now."""
        for frame in read(file):
            if isinstance(frame, frames.Header):
                longer = msgspec.structs.replace(QUICK, confirm_s=8.0)
                frame = msgspec.structs.replace(frame, settings=longer)
            yield frame

    found = replay(stricter()).difference
    assert found is not None
    assert (found.uuid, found.axis, found.recorded, found.recomputed) == ("g0", "reasons", "none", "window")
    assert found.revision == outcome_of(file).last_revision


def test_a_revision_that_was_not_recorded_is_a_difference(file: Path) -> None:
    site = Site()
    recorder = site.record()
    site.lives(9, IDLE, IDLE)
    written(file, bytes_of(recorder))
    shown = [frame for frame in read(file) if isinstance(frame, frames.Shown)]
    changed = [frame for frame in shown if frame.rows]

    def forgetful() -> Iterator[Frame]:
        """As if the collector had not shown the last change."""
        for frame in read(file):
            if frame == changed[-1]:
                frame = msgspec.structs.replace(frame, rows=b"", records=b"", revision=frame.revision - 1)
            yield frame

    found = replay(forgetful()).difference
    assert found is not None
    assert (found.uuid, found.recorded, found.recomputed) == ("g0", "window", "none")


def test_nothing_is_taped_before_and_after_a_recording() -> None:
    site = Site()
    recorder = site.record()
    recorder.end(COMPLETE)
    recorder.taken()
    site.lives(3, IDLE, IDLE)
    assert recorder.taken() == b""
    assert (site.fleet.tape, site.engine.tape) == (None, None)


def test_a_reader_that_is_too_slow_gets_what_fits_and_is_told(file: Path) -> None:
    site = Site()
    recorder = site.record(room_bytes=3000)
    site.lives(30, IDLE, IDLE)
    assert recorder.ended == TOO_SLOW
    outcome = outcome_of(written(file, bytes_of(recorder)))
    assert (outcome.difference, outcome.ended) == (None, TOO_SLOW)
    assert 0 < outcome.snapshots < 30


def test_a_recording_that_was_cut_off_is_said_to_be(file: Path) -> None:
    whole = written(file, bytes_of(everything(Site()))).read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadRecording, match="cut off"):
        outcome_of(file)


def test_a_file_that_is_not_there_is_not_said_to_be_damaged(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match=r"it cannot be read: No such file or directory; expected"):
        outcome_of(tmp_path / "none")


@pytest.mark.parametrize(("data", "complaint"), [
    (b"", "no Header"),
    (encoded(frames.End(COMPLETE)), "no Header"),
    (b"\xff\xff\xff\xff", "damaged"),
    (b"\0\0\0\2ab", "cannot be understood"),
    (b"\0\0", "damaged"),
])
def test_what_is_no_recording_is_refused_with_a_reason(file: Path, data: bytes, complaint: str) -> None:
    with pytest.raises(BadRecording, match=complaint):
        outcome_of(written(file, data))


def test_frames_that_do_not_fit_each_other_are_damage_and_no_crash(file: Path) -> None:
    site = Site()
    recorder = site.record()
    site.lives(3, IDLE, IDLE)
    written(file, bytes_of(recorder))
    without_blocks = (frame for frame in read(file) if not isinstance(frame, frames.Block))
    with pytest.raises(BadRecording, match="does not fit"):
        replay(without_blocks)
    without_state = (frame for frame in read(file) if not isinstance(frame, frames.Rows))
    with pytest.raises(BadRecording, match="0 of 2 devices"):
        replay(without_state)


def test_a_recording_of_a_collector_that_remembers_other_things_is_refused(file: Path) -> None:
    written(file, bytes_of(Site().record()))
    older = (
        msgspec.structs.replace(frame, dtypes={}) if isinstance(frame, frames.Header) else frame for frame in read(file)
    )
    with pytest.raises(BadRecording, match=r"version 1\.2\.3"):
        replay(older)


def test_a_device_that_two_nodes_name_changes_hands_as_it_was_recorded(file: Path) -> None:
    site = Site()
    site.lives(10, IDLE, IDLE)
    rival = Watched(device("g0"), node="n2", fleet=site.fleet, engine=site.engine, now=site.node.now)
    recorder = site.record()
    site.node.devices = (device("g1"),)
    site.node.hello()
    site.lives(3, IDLE)
    rival.now = site.node.now
    for _ in range(40):  # the first node is lost meanwhile
        rival.stays(1.0, BUSY)
        site.node.now = rival.now
        site.view.refresh()
    other = Watched(device("g1"), node="n3", fleet=site.fleet, engine=site.engine, now=rival.now)
    other.stays(1.0, IDLE)
    site.node.now = other.now
    site.view.refresh()
    assert (site.fleet.has("n2", "g0"), site.fleet.has("n3", "g1")) == (True, True)
    assert outcome_of(written(file, bytes_of(recorder))).difference is None


def test_a_device_that_was_only_seen_on_the_bus_and_is_read_now_is_replayed(file: Path) -> None:
    site = Site()
    on_bus = device("unread-0000:01:00.0", conditions=["unread"], pci_bus_id="0000:01:00.0", model="")
    site.node.devices = (device("g0"), device("g1"), on_bus)
    site.node.hello()
    site.lives(3, IDLE, IDLE, {})
    recorder = site.record()
    site.node.devices = (device("g0"), device("g1"), device("g2", pci_bus_id="0000:01:00.0"))
    site.node.hello()
    site.lives(3, IDLE, IDLE, IDLE)
    assert outcome_of(written(file, bytes_of(recorder))).difference is None
