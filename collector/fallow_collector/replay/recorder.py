"""One recording: the whole state at a moment, and from then on a tape of what goes in and what comes out."""

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.arrays import ARRAYS
from fallow_collector.fleet.arrival import Arrival
from fallow_collector.fleet.layouts import BoundBlock
from fallow_collector.idle import baseline
from fallow_collector.idle.state import STATE
from fallow_collector.replay import frames
from fallow_collector.replay.frames import Frame, encoded
from fallow_collector.replay.taped import TapedEngine, TapedFleet
from fallow_collector.view import Snapshot, View
from fallow_collector.watch.shown import SHOWN, grown, records

ROOM_BYTES = 64 * 2**20
"""Of the tape, on its way to the reader: half a minute of 10,000 nodes."""

ROWS = 2048  # of the state in one frame, of some 1.5 KB each

OWNERS = ("allocation", "imported", "service", "verdict", "foreign", "ledger", "allocated_at")
"""Arrays that anybody may write into: what differs is found before each snapshot, which alone looks at them."""

HISTOGRAM = baseline.empty(0).shape[1]  # numbers in one

COMPLETE = "complete"
TOO_SLOW = "the reader was too slow: more waited for it than there is room for"


def dtypes() -> dict[str, str]:
    """Of the arrays whose bytes a recording holds."""
    return {
        "state": str(STATE.descr), "histogram": str(HISTOGRAM), "shown": str(SHOWN.descr),
        "fleet": " ".join(f"{name}:{kind}:{width}" for name, kind, width, _ in ARRAYS),
    }


class Recorder:
    """Records from its making on, until it ends; `ended` then says why."""

    def __init__(
        self, fleet: TapedFleet, engine: TapedEngine, view: View, version: str, now: float, wall: float,
        room_bytes: int = ROOM_BYTES,
    ) -> None:
        self.ended = ""
        self._fleet = fleet
        self._engine = engine
        self._view = view
        self._room = room_bytes
        self._tape: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._blocks: dict[int, tuple[int, BoundBlock]] = {}  # by identity: number, and what keeps the identity
        self._owners: dict[str, NDArray[np.generic]] = {}
        self._state = self._whole_state(version, now, wall)
        fleet.tape = engine.tape = self
        view.follow(self._shown)

    def end(self, reason: str) -> None:
        if self.ended:
            return
        self._fleet.tape = self._engine.tape = None
        self._view.unfollow(self._shown)
        self.ended = reason
        self._tape.append(encoded(frames.End(reason)))

    def state(self) -> Iterator[bytes]:
        """The whole state when it began, to be taken before the tape, once."""
        yield from self._state

    def taken(self) -> bytes:
        """What is on the tape and was not taken yet."""
        tape, self._tape, self._waiting_bytes = self._tape, deque(), 0
        return b"".join(tape)

    # --- what runs along ---

    def write(self, frame: Frame) -> None:
        data = encoded(frame)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > self._room:
            self.end(TOO_SLOW)
        else:
            self._tape.append(data)

    def write_reports(self, arrivals: Sequence[Arrival]) -> None:
        self.write(frames.Reports([
            frames.Report(
                arrival.node, arrival.epoch, arrival.seq, arrival.previous, arrival.time_ms, arrival.receipt,
                [
                    frames.Values(
                        self._number(values.block), values.gauges.tobytes(), values.counters.tobytes(),
                        None if values.reasons is None else values.reasons.tobytes(),
                    )
                    for values in arrival.values
                ],
            )
            for arrival in arrivals
        ]))

    def _number(self, block: BoundBlock) -> int:
        """Of a block, which is written when it is first met."""
        known = self._blocks.get(id(block))
        if known is None:
            known = self._blocks[id(block)] = len(self._blocks), block
            self.write(frames.Block(
                block.group, block.interval_s, block.rows.tobytes(), block.gauge_names, block.counter_names
            ))
        return known[0]

    def _shown(self, snapshot: Snapshot) -> None:
        self._write_owners()
        self.write(frames.Shown(
            snapshot.now, snapshot.as_of, snapshot.revision, snapshot.changed.astype(np.int64).tobytes(),
            records(snapshot.shown, snapshot.changed).tobytes(),
        ))

    def _write_owners(self) -> None:
        before, now = self._owners, _owners(self._fleet)
        known = len(before["service"])
        differ = np.ones(self._fleet.count, dtype=np.bool_)
        differ[:known] = False
        for name, column in now.items():
            differ[:known] |= before[name] != column[:known]
        rows = np.flatnonzero(differ)
        if len(rows):
            self._owners = now
            self.write(frames.Owners(
                rows.astype(np.int64).tobytes(), {name: column[rows].tobytes() for name, column in now.items()},
                list(self._fleet.ledgers),
            ))

    # --- how it began ---

    def _whole_state(self, version: str, now: float, wall: float) -> Iterator[bytes]:
        """Copied at once, encoded piece by piece as it is read."""
        fleet, count = self._fleet, self._fleet.count
        self._owners = _owners(fleet)
        header = encoded(frames.Header(
            frames.FORMAT, version, self._engine.settings, dtypes(), self._view.epoch, self._view.revision, now, wall,
            count, fleet.nodes, list(fleet.groups), list(fleet.ledgers),
            dict(fleet.declared_class),
        ))
        columns = fleet.columns(), self._engine.columns(count), grown(self._view.shown, count)
        identities = list(fleet.identities)

        def pieces() -> Iterator[bytes]:
            yield header
            for start in range(0, count, ROWS):
                piece = slice(start, start + ROWS)
                yield encoded(frames.Rows(
                    identities[piece],
                    *({name: column[piece].tobytes() for name, column in each.items()} for each in columns),
                ))

        return pieces()


def _owners(fleet: TapedFleet) -> dict[str, NDArray[np.generic]]:
    return {name: getattr(fleet, name)[: fleet.count].copy() for name in OWNERS}
