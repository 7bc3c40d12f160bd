"""Coalescing at the source: a storm of one kind and code on one device is one event whose count grows.

Two witnesses of the same are no two happenings: an Xid is told by NVML and by the kernel's log, so the count of an
event is that of the witness who saw the most.
"""

from collections import Counter
from dataclasses import dataclass, field

from fallow_agent.happening import Happening
from fallow_proto.v1 import telemetry_pb2 as pb

RESEND_S = 1.0
QUIET_S = 60.0  # after that, the same again is a new event
MOST = 1_024
"""Storms that are told apart at one time; beyond, codes of one kind on one device are one, so that no log full of
invented numbers fills the memory."""

# The kernel's line names process, unit and link, where NVML gives the bare number.
_SAYS_MORE = "kernel"

_Key = tuple[str, str, int | None]


@dataclass(slots=True)
class _Storm:
    event: pb.Event
    at: float  # last time it happened
    seen: Counter[str] = field(default_factory=Counter)  # times, by witness
    sent_at: float | None = None
    changed: bool = True


class Events:
    """Events of one epoch. All times are boot-time seconds, except those that are called _ms (unix)."""

    def __init__(self) -> None:
        self._storms: dict[_Key, _Storm] = {}
        self._over: list[pb.Event] = []  # storms that were followed by another of their kind before they were sent
        self._ids = 0

    def note(self, happened: Happening, time_ms: int, at: float) -> bool:
        """It happened at `at`, which may be some time ago. Whether it begins a new event."""
        key = self._key(happened)
        storm = self._storms.get(key)
        is_new = storm is None or at - storm.at > QUIET_S
        if storm is None or is_new:
            if storm is not None and storm.changed:
                self._over.append(storm.event)
            storm = self._storms[key] = self._begun(key, time_ms, at)
        storm.seen[happened.source] += happened.times
        event = storm.event
        event.count = max(1, *storm.seen.values())
        event.last_ms = max(event.last_ms, time_ms)
        if event.source != _SAYS_MORE or happened.source == _SAYS_MORE:
            event.message = happened.message
            event.source = happened.source
        storm.at = max(storm.at, at)
        storm.changed = True
        return is_new

    def due(self, now: float, *, last: bool = False) -> list[pb.Event]:
        """What has to be sent now, without a seq: new events, and those that grew and were not sent within RESEND_S.

        last: this is not asked again, so all that was not sent.
        """
        due, self._over = self._over, []
        for key, storm in list(self._storms.items()):
            if storm.changed and (last or storm.sent_at is None or now - storm.sent_at >= RESEND_S):
                storm.changed = False
                storm.sent_at = now
                copy = pb.Event()
                copy.CopyFrom(storm.event)
                due.append(copy)
            elif not storm.changed and now - storm.at > QUIET_S:
                del self._storms[key]
        return due

    def _key(self, happened: Happening) -> _Key:
        key = happened.kind, happened.device, happened.code
        crowded = len(self._storms) >= MOST and key not in self._storms
        return (happened.kind, happened.device, None) if crowded else key

    def _begun(self, key: _Key, time_ms: int, at: float) -> _Storm:
        self._ids += 1
        kind, device, code = key
        event = pb.Event(id=str(self._ids), kind=kind, device=device, first_ms=time_ms)
        if code is not None:
            event.code = code
        return _Storm(event, at)
