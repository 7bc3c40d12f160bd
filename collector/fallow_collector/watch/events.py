"""Changes as server-sent events. A device is encoded once for all who are told of it.

The id of an event is where a watch can be resumed without loss, so only the last event of a revision bears one; a
client's last id stays what it was in between, as the specification of server-sent events has it.
"""

from functools import lru_cache
from typing import cast

import msgspec
import numpy as np

from fallow_collector.answers.numbers import rfc3339
from fallow_collector.fleet.fleet import Fleet
from fallow_collector.idle import phase
from fallow_collector.idle.reasons import names
from fallow_collector.watch.shown import OCCUPANCIES
from fallow_proto.dispatch import Change, Watched
from fallow_proto.states import Confidence


class Encoder:
    """Records as JSON; of each row the newest one is kept, for the next watcher that is told of it."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._kept: dict[int, tuple[bytes, str | None, Watched]] = {}

    def device(self, row: int, record: np.void, lease_id: str | None) -> Watched:
        """For a Change that is to be encoded: the device in it is encoded already. record: one SHOWN."""
        bits = record.tobytes()
        kept = self._kept.get(row)
        if kept is None or kept[:2] != (bits, lease_id):
            watched = watched_of(self._fleet, row, record, lease_id)
            raw = msgspec.Raw(msgspec.json.encode(watched))
            kept = self._kept[row] = bits, lease_id, cast(Watched, raw)
        return kept[2]

    def forget(self) -> None:
        """Nobody watches."""
        self._kept.clear()


def watched_of(fleet: Fleet, row: int, record: np.void, lease_id: str | None) -> Watched:
    group = fleet.groups[record["group"]]
    return Watched(
        uuid=fleet.identities[row].uuid, node=fleet.nodes[record["owner"]].name, site=group.site, vendor=group.vendor,
        model=group.model, device_class=group.device_class,
        phase=str(phase.PHASES[record["phase"]]),
        freshness=str(phase.FRESHNESSES[record["freshness"]]),
        health=str(phase.HEALTHS[record["health"]]),
        occupancy=str(OCCUPANCIES[record["occupancy"]]),
        allocation=str(phase.ALLOCATIONS[record["allocation"]]),
        service=str(phase.SERVICES[record["service"]]),
        ledger=fleet.ledgers[record["ledger"]],
        confidence=str(Confidence.LOW if record["low"] else Confidence.HIGH),
        reasons=_names(int(record["reasons"])),
        since=_rfc3339(float(record["since"])),
        lease_id=lease_id,
    )


def event(change: Change, last: bool) -> bytes:
    """One event. last: nothing more of its revision follows."""
    if change.kind == "resync":
        resumes = b"id:\n"  # forgets the client's last id, so that a browser's next request lists
    else:
        resumes = f"id: {change.epoch}:{change.revision}\n".encode() if last else b""
    return b"%sevent: %s\ndata: %s\n\n" % (resumes, change.kind.encode(), msgspec.json.encode(change))


@lru_cache(maxsize=4096)
def _names(mask: int) -> list[str]:
    return names(mask)


@lru_cache(maxsize=4096)
def _rfc3339(unix_s: float) -> str:
    return rfc3339(unix_s)
