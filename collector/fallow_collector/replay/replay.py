"""A recording judged again by the code that is here: every revision must come out as it was recorded, bit for bit."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from fallow_collector.answers.numbers import rfc3339
from fallow_collector.fleet.arrays import ARRAYS
from fallow_collector.fleet.arrival import Arrival, Values
from fallow_collector.fleet.layouts import BoundBlock
from fallow_collector.fleet.registry import Identity
from fallow_collector.idle import phase
from fallow_collector.idle.reasons import names
from fallow_collector.idle.state import STATE, WITNESSES
from fallow_collector.replay import frames
from fallow_collector.replay.frames import BadRecording, Frame
from fallow_collector.replay.recorder import HISTOGRAM, OWNERS, dtypes
from fallow_collector.replay.taped import TapedEngine, TapedFleet
from fallow_collector.view import Snapshot, View
from fallow_collector.watch.shown import OCCUPANCIES, SHOWN, grown, records
from fallow_proto.metrics import Group
from fallow_proto.v1 import telemetry_pb2 as pb


class Difference(NamedTuple):
    """The first thing that came out differently. uuid is empty if it is the number of the revision itself."""

    revision: int  # as recorded
    uuid: str
    axis: str
    recorded: str
    recomputed: str


class Outcome(NamedTuple):
    version: str  # of the collector that recorded
    first_revision: int
    last_revision: int  # that was compared
    snapshots: int
    devices: int
    duration_s: float
    digest: str  # of all that was recomputed
    difference: Difference | None
    ended: str  # why the recording did


def replay(recording: Iterable[Frame]) -> Outcome:
    """Up to the first difference or the end. Raises BadRecording."""
    try:
        return _replay(recording)
    except (LookupError, ValueError, DecodeError) as error:
        raise BadRecording(f"a frame does not fit what came before it, the file is damaged: {error!r}") from error


def _replay(recording: Iterable[Frame]) -> Outcome:
    following = iter(recording)
    header = next(following, None)
    if not isinstance(header, frames.Header):
        raise BadRecording("the first frame is no Header: is this a recording of a collector?")
    if header.format != frames.FORMAT or header.dtypes != dtypes():
        raise BadRecording(
            f"it was recorded by version {header.version}, which remembers other things than this one; "
            f"replay it with that version"
        )
    player = _Player(header, following)
    digest = blake2b(digest_size=16)
    snapshots, now, ended = 0, header.now, ""
    difference = None
    for frame in following:
        match frame:
            case frames.Shown():
                snapshot = player.show(frame)
                snapshots, now = snapshots + 1, frame.now
                digest.update(b"%d %d" % (snapshots, snapshot.revision))
                digest.update(snapshot.changed.astype(np.int64).tobytes())
                digest.update(records(snapshot.shown, snapshot.changed).tobytes())
                difference = player.difference(frame, snapshot)
                if difference is not None:
                    break
            case frames.End():
                ended = frame.reason
            case _:
                player.feed(frame)
    if not ended and difference is None:
        raise BadRecording(f"it was cut off after revision {player.view.revision}, up to which all is as recorded")
    return Outcome(
        header.version, header.revision, player.view.revision, snapshots, player.fleet.count, now - header.now,
        digest.hexdigest(), difference, ended,
    )


class _Player:
    """The stages, put into the state that was recorded."""

    def __init__(self, header: frames.Header, following: Iterator[Frame]) -> None:
        self.engine = TapedEngine(header.settings)
        self.fleet = TapedFleet(self.engine, WITNESSES)
        self._now, self._wall = header.now, header.wall
        self.view = View(self.fleet, self.engine, lambda: self._now, lambda: self._wall)
        self._blocks: list[BoundBlock] = []
        identities: list[Identity] = []
        pieces: list[frames.Rows] = []
        while len(identities) < header.count:
            rows = next(following, None)
            if not isinstance(rows, frames.Rows) or not rows.identities:
                raise BadRecording(f"it has the state of {len(identities)} of {header.count} devices only")
            identities += rows.identities
            pieces.append(rows)
        self.fleet.load(
            header.nodes, header.groups, header.ledgers, header.declared_class,
            identities, {
                name: _column([rows.fleet[name] for rows in pieces], kind, width) for name, kind, width, _ in ARRAYS
            },
        )
        self.engine.load({
            "state": _column([rows.engine["state"] for rows in pieces], STATE, 0),
            "histogram": _column([rows.engine["histogram"] for rows in pieces], "f4", HISTOGRAM),
        })
        self._expected = {
            name: _column([rows.shown[name] for rows in pieces], SHOWN[name], 0) for name in SHOWN.names or ()
        }
        self.view.resume(header.revision, self._expected)

    def feed(self, frame: Frame) -> None:
        fleet = self.fleet
        match frame:
            case frames.Hello():
                hello = pb.Hello.FromString(frame.hello)
                with suppress(Exception):  # the pipeline went on, too; what it did to the judgement will show
                    fleet.hello(hello, frame.receipt, frame.wall)
            case frames.Gone():
                fleet.gone(frame.node, frame.receipt)
            case frames.Named():
                fleet.node_number(frame.node)
            case frames.Added():
                fleet.row_of(frame.node, frame.uuid)
            case frames.Block():
                self._blocks.append(_block(frame))
            case frames.Reports():
                arrivals = [self._arrival(report) for report in frame.reports]
                with suppress(Exception):  # as above
                    fleet.apply(arrivals)
            case frames.Declared():
                fleet.declare(
                    frame.uuid, frame.node, frame.site, frame.vendor, frame.model, frame.device_class
                )
            case frames.Retired():
                fleet.retire(frame.row)
            case frames.Accepted():
                self.engine.accept(frame.row, frame.power_watts, frame.memory_bytes)
            case frames.Restarted():
                self.engine.restart(_rows(frame.rows), frame.short)
            case frames.Owners():
                fleet.ledgers[:] = frame.ledgers
                for name in OWNERS:
                    array = getattr(fleet, name)
                    array[_rows(frame.rows)] = np.frombuffer(frame.columns[name], array.dtype)
            case _:
                raise BadRecording(f"a second {type(frame).__name__}, expected one at the beginning")

    def show(self, frame: frames.Shown) -> Snapshot:
        self._now, self._wall = frame.now, frame.wall
        return self.view.refresh()

    def difference(self, frame: frames.Shown, snapshot: Snapshot) -> Difference | None:
        """Between the whole fleet as it was shown and as it is now."""
        recorded = np.frombuffer(frame.records, SHOWN)
        self._expected = {name: column.copy() for name, column in grown(self._expected, self.fleet.count).items()}
        for name, column in self._expected.items():
            column[_rows(frame.rows)] = recorded[name]
            differ = np.flatnonzero(column != snapshot.shown[name])
            if len(differ):
                row = int(differ[0])
                return Difference(
                    frame.revision, self.fleet.identities[row].uuid, name,
                    self._word(name, column[row]), self._word(name, snapshot.shown[name][row]),
                )
        if frame.revision != snapshot.revision:
            return Difference(frame.revision, "", "revision", str(frame.revision), str(snapshot.revision))
        return None

    def _word(self, axis: str, value: Any) -> str:
        match axis:
            case "reasons":
                return " ".join(names(int(value))) or "none"
            case "since":
                return rfc3339(float(value))
            case "owner":
                return str(self.fleet.nodes[value].name)
            case "group":
                return "/".join(self.fleet.groups[value])
            case "ledger":
                return str(self.fleet.ledgers[value])
            case _ if axis in _WORDS:
                return str(_WORDS[axis][value])
            case _:
                return str(value)

    def _arrival(self, report: frames.Report) -> Arrival:
        return Arrival(
            report.node, report.epoch, report.seq, report.previous, report.time_ms, report.receipt,
            tuple(_values(self._blocks[values.block], values) for values in report.values),
        )


_WORDS: dict[str, tuple[Any, ...]] = {
    "phase": phase.PHASES, "freshness": phase.FRESHNESSES, "health": phase.HEALTHS, "occupancy": OCCUPANCIES,
    "allocation": phase.ALLOCATIONS, "service": phase.SERVICES,
}


def _column(pieces: list[bytes], dtype: Any, width: int) -> NDArray[Any]:
    column = np.frombuffer(b"".join(pieces), dtype)
    return column.reshape(-1, width) if width else column


def _rows(data: bytes) -> NDArray[np.int64]:
    return np.frombuffer(data, np.int64)


def _block(frame: frames.Block) -> BoundBlock:
    rows = np.frombuffer(frame.rows, np.int32)
    return BoundBlock(
        group=Group(frame.group), interval_s=frame.interval_s, rows=rows, series=np.zeros_like(rows),
        wire_gauges=len(frame.gauges), wire_counters=len(frame.counters), gauge_pick=None, counter_pick=None,
        gauge_names=frame.gauges, counter_names=frame.counters,
    )


def _values(block: BoundBlock, values: frames.Values) -> Values:
    devices = len(block.rows)
    return Values(
        block,
        np.frombuffer(values.gauges, np.float32).reshape(devices, len(block.gauge_names)),
        np.frombuffer(values.counters, np.float64).reshape(devices, len(block.counter_names)),
        None if values.reasons is None else np.frombuffer(values.reasons, np.uint8),
    )
