"""Coalescing at the source: a storm of one kind on one device is one event whose count grows."""

from dataclasses import dataclass

from fallow_proto.v1 import telemetry_pb2 as pb

RESEND_S = 1.0
QUIET_S = 60.0  # after that, the same again is a new event


@dataclass(slots=True)
class _Storm:
    event: pb.Event
    at: float  # last time it happened
    sent_at: float | None = None
    changed: bool = True


class Events:
    """Events of one epoch. All times are boot-time seconds, except those that are called _ms (unix)."""

    def __init__(self) -> None:
        self._storms: dict[tuple[str, str], _Storm] = {}
        self._ids = 0

    def note(self, kind: str, device: str, message: str, time_ms: int, now: float, times: int = 1) -> None:
        """It happened `times` times. device: uuid, empty for the node."""
        storm = self._storms.get((kind, device))
        if storm is None or now - storm.at > QUIET_S:
            self._ids += 1
            event = pb.Event(id=str(self._ids), kind=kind, device=device, first_ms=time_ms)
            storm = self._storms[kind, device] = _Storm(event, now)
        storm.event.count += times
        storm.event.last_ms = time_ms
        storm.event.message = message
        storm.at = now
        storm.changed = True

    def due(self, now: float) -> list[pb.Event]:
        """What has to be sent now, without a seq: new events, and those that grew and were not sent within RESEND_S."""
        due = []
        for key, storm in list(self._storms.items()):
            if storm.changed and (storm.sent_at is None or now - storm.sent_at >= RESEND_S):
                storm.changed = False
                storm.sent_at = now
                copy = pb.Event()
                copy.CopyFrom(storm.event)
                due.append(copy)
            elif not storm.changed and now - storm.at > QUIET_S:
                del self._storms[key]
        return due
