"""What to ask the readers now, and what the next report says: pure, every moment is an argument.

Covers: the schedule of groups, layouts, what a reader that is stuck or failed leaves in a report. Does not cover:
processes (readers/child.py), which processes hold nothing (holders.py), numbering and keeping reports.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import assert_never

from fallow_agent.block import Block
from fallow_agent.readers.messages import Opened, Read
from fallow_agent.readers.reader import DeviceIdentity
from fallow_agent.readers.status import State, Status
from fallow_agent.schedule import Schedule
from fallow_proto.codec import layout_of
from fallow_proto.metrics import Group
from fallow_proto.v1 import telemetry_pb2 as pb

GRACE = 0.5
"""How long a report waits for readers that were asked, in sampling periods; what comes later is for the next."""


@dataclass(slots=True)
class _Source:
    """One reader, as far as reports go."""

    devices: tuple[DeviceIdentity, ...] = ()
    blocks: dict[Group, Block] = field(default_factory=dict)
    reason: pb.Reason.ValueType = pb.REASON_OK  # why it as a whole says nothing now
    asked: bool = False
    turns: dict[Group, int] = field(default_factory=dict)  # the last one that each group was asked in


class Sampler:
    """Times are seconds on one clock that never goes back."""

    def __init__(self, interval_s: float, start: float) -> None:
        """interval_s: between reports, 0.1 to 10; the fast group is sampled at least once a second all the same."""
        self._schedule = Schedule(interval_s, start)
        self._sources: dict[str, _Source] = {}
        self._tick = -1
        self._report = -1
        self._waiting_until: float | None = None  # of a report that is due
        self._blocks: list[Block] = []
        self.layout = layout_of(())
        """What the numbers of the next report mean; another one whenever a reader's devices changed."""

    @property
    def devices(self) -> list[tuple[str, DeviceIdentity]]:
        """All devices there are, each with its reader's name, in a fixed order."""
        return [(name, device) for name in sorted(self._sources) for device in self._sources[name].devices]

    @property
    def reports(self) -> bool:
        """Whether there is anything to report, if only that it is not known."""
        return bool(self._blocks)

    @property
    def wake_at(self) -> float:
        """When to call due() and ready() at the latest."""
        next_tick = self._schedule.time_of(self._tick + 1)
        return next_tick if self._waiting_until is None else min(next_tick, self._waiting_until)

    def due(self, now: float, free: Iterable[str]) -> dict[str, tuple[Group, ...]]:
        """Whom of the readers that can answer now to ask, and for what. `free` are readers that take() knows.

        One that is still busy is left out: its tick is skipped, and a slower group that it missed is asked for as soon
        as it can answer.
        """
        tick = self._schedule.tick_at(now)
        if tick <= self._tick:
            return {}
        self._tick = tick
        report = self._schedule.report_of(tick)
        if self._blocks and report > self._report:
            self._report = report
            self._waiting_until = self._schedule.time_of(tick) + GRACE * self._schedule.period_s
        return {name: self._groups_due(name) for name in free}

    def take(self, reader: str, answer: Opened | Read | Status, now: float) -> None:
        source = self._sources.setdefault(reader, _Source())
        match answer:
            case Opened():
                self._open(reader, source, answer)
            case Read():
                source.asked = False
                for group, readings in answer.readings.items():
                    if block := source.blocks.get(group):
                        block.sample(readings, now)
            case Status():
                source.reason = answer.reason
                source.asked = False
                if answer.state is State.ABSENT:
                    self._open(reader, source, Opened((), {}))
            case _:
                assert_never(answer)

    def ready(self, now: float) -> bool:
        """Whether a report is due and nothing more is to be waited for."""
        if self._waiting_until is None:
            return False
        return now >= self._waiting_until or not any(source.asked for source in self._sources.values())

    def report(self, seq: int, previous: int, time_ms: int) -> pb.Report:
        """The report that is due, in terms of `layout`. A block that has no news and whose reader works is left out."""
        self._waiting_until = None
        readings = []
        for position, block in enumerate(self._blocks):
            reason = self._sources[block.wire.reader].reason
            # Only the fast group speaks for a reader that does not: unknown has to reach the collector at once.
            silent = reason != pb.REASON_OK and block.wire.group == Group.FAST
            if silent or block.sampled:
                readings.append(block.report(position, reason if silent else pb.REASON_OK))
        return pb.Report(seq=seq, previous=previous, time_ms=time_ms, readings=readings)

    def _groups_due(self, name: str) -> tuple[Group, ...]:
        source = self._sources[name]
        due = []
        # A group without columns is asked for all the same: a reader looks for changed devices at the medium pace.
        for group in Group:
            turn = self._schedule.turn_of(group, self._tick)
            if turn > source.turns.get(group, -1):
                source.turns[group] = turn
                due.append(group)
        source.asked = True
        return tuple(due)

    def _open(self, reader: str, source: _Source, opened: Opened) -> None:
        source.devices = opened.devices
        source.asked = False
        source.turns.clear()
        blocks: dict[Group, Block] = {}
        for group in Group:
            new = Block(
                reader, group, opened, self._schedule.sampled_every_s(group), self._schedule.reported_every_s(group)
            )
            if new.wire.gauges or new.wire.counters:
                old = source.blocks.get(group)
                blocks[group] = old if old and old.wire == new.wire else new  # the old one holds what is not reported
        source.blocks = blocks
        self._blocks = [block for name in sorted(self._sources) for block in self._sources[name].blocks.values()]
        self.layout = layout_of(block.wire for block in self._blocks)
