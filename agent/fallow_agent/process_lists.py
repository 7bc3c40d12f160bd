"""The processes of each device as the collector is told of them: only when they are others than before.

/proc is asked of a pid when it is new on the node, and every RECHECK_S whether it still means the same process. Memory
moves all the time, so that alone is told once in MEMORY_S.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from fallow_agent.holders import holds_nothing
from fallow_agent.readers.reader import Process, Reading
from fallow_agent.who import Who
from fallow_proto.v1 import telemetry_pb2 as pb

MOST = 64  # of one device; the others are counted
RECHECK_S = 10.0
MEMORY_S = 60.0
UNKNOWN = "not in /proc: it has ended, is hidden, or is in another pid namespace than the agent"

WhoIs = Callable[[int], Who | None]
StartedS = Callable[[int], float | None]


class Listed(NamedTuple):
    """A process on a device. who: None, it cannot be told."""

    pid: int
    memory_bytes: float | None
    who: Who | None
    exempt: bool


class Listing(NamedTuple):
    """What is on a device. problem: not empty where that is not known. more: processes beyond those that are named."""

    device: str
    problem: str = ""
    processes: tuple[Listed, ...] = ()
    more: int = 0

    def names_like(self, other: "Listing") -> bool:
        """Whether both name the same processes, whatever memory these have."""
        return (
            (self.problem, self.more) == (other.problem, other.more)
            and [_key(each) for each in self.processes] == [_key(each) for each in other.processes]
        )


class ProcessLists:
    """`now` is in seconds, on one clock that never goes back, for all calls."""

    def __init__(self, who_is: WhoIs, started_s: StartedS) -> None:
        self._who_is = who_is
        self._started_s = started_s
        self._told: dict[str, tuple[Listing, float]] = {}  # by device: what was told last, and when
        self._pids: dict[str, frozenset[int]] = {}  # by device
        self._who: dict[int, Who | None] = {}
        self._checked_at = float("-inf")

    def take(self, readings: Iterable[Reading], holders: Sequence[pb.Holder], now: float) -> list[Listing]:
        """What is to be told after these readings. A device that never had a list is passed over."""
        self._recheck(now)
        found = [self._listing(reading, holders) for reading in readings if self._concerns(reading)]
        told = [listing for listing in found if self._is_news(listing, now)]
        self._told |= {listing.device: (listing, now) for listing in told}
        self._forget_the_gone()
        return told

    def lose(self, devices: Iterable[str], problem: str, now: float) -> list[Listing]:
        """Nothing is known of these any more: their reader says nothing."""
        lost = [Listing(device, problem) for device in sorted(devices) if device in self._told]
        told = [listing for listing in lost if self._is_news(listing, now)]
        self._told |= {listing.device: (listing, now) for listing in told}
        self._pids |= {listing.device: frozenset() for listing in lost}
        return told

    def drop(self, devices: Iterable[str]) -> None:
        """These are not there any more."""
        for device in devices:
            self._told.pop(device, None)
            self._pids.pop(device, None)

    def _concerns(self, reading: Reading) -> bool:
        return "processes" in reading.values or reading.uuid in self._told

    def _listing(self, reading: Reading, holders: Sequence[pb.Holder]) -> Listing:
        if "processes" not in reading.values:
            self._pids[reading.uuid] = frozenset()
            return Listing(reading.uuid, f"not read: {pb.Reason.Name(reading.reason)}")
        named = sorted(reading.processes)[:MOST]
        self._pids[reading.uuid] = frozenset(process.pid for process in named)
        listed = tuple(self._listed(process, holders) for process in named)
        return Listing(reading.uuid, "", listed, max(0, round(reading.values["processes"]) - len(named)))

    def _listed(self, process: Process, holders: Sequence[pb.Holder]) -> Listed:
        pid, memory_bytes = process
        if pid not in self._who:
            self._who[pid] = self._who_is(pid)
        who = self._who[pid]
        exempt = who is not None and any(holds_nothing(holder, who.occupant, memory_bytes) for holder in holders)
        return Listed(pid, memory_bytes, who, exempt)

    def _is_news(self, listing: Listing, now: float) -> bool:
        before, at = self._told.get(listing.device, (None, now))
        if before is None or not listing.names_like(before):
            return True
        return listing != before and now - at >= MEMORY_S

    def _recheck(self, now: float) -> None:
        """Whoever began at another moment is another process, and who could not be told may be now."""
        if now - self._checked_at < RECHECK_S:
            return
        self._checked_at = now
        self._who = {
            pid: who for pid, who in self._who.items() if who is not None and self._started_s(pid) == who.started_s
        }

    def _forget_the_gone(self) -> None:
        present = frozenset().union(*self._pids.values())
        if len(present) < len(self._who):
            self._who = {pid: who for pid, who in self._who.items() if pid in present}


def message(listing: Listing, time_ms: Callable[[float], int]) -> pb.Processes:
    """For the wire. time_ms: from boot time to unix milliseconds."""
    return pb.Processes(
        device=listing.device, problem=listing.problem, more=listing.more,
        processes=[_message(each, time_ms) for each in listing.processes],
    )


def _message(listed: Listed, time_ms: Callable[[float], int]) -> pb.Process:
    memory = None if listed.memory_bytes is None else round(listed.memory_bytes)
    who = listed.who
    if who is None:
        return pb.Process(pid=listed.pid, problem=UNKNOWN, memory_bytes=memory)
    return pb.Process(
        pid=listed.pid, started_ms=time_ms(who.started_s), command=who.occupant.command, user=who.occupant.user,
        uid=who.uid, cgroup=who.cgroup, memory_bytes=memory, exempt=listed.exempt,
    )


def _key(listed: Listed) -> tuple[int, float | None, bool]:
    return listed.pid, None if listed.who is None else listed.who.started_s, listed.exempt
