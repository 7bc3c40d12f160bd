"""What is on each device now, and since when something foreign is.

A process is called foreign after unmanaged_s, and only when its scheduler was read again meanwhile: a job that ends and
one that begins are not seen at the same moment by the scheduler and by the driver.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from fallow_collector.fleet.fleet import Fleet
from fallow_collector.ledgers.claim import Held
from fallow_collector.ledgers.imports import Imports
from fallow_collector.ledgers.match import LEASED
from fallow_collector.processes.foreign import is_foreign
from fallow_proto.states import EventKind
from fallow_proto.v1 import telemetry_pb2 as pb

Note = Callable[[EventKind, str, str, str], None]
"""(kind, node, uuid, message)."""

_Key = tuple[int, int]  # pid and start


@dataclass(frozen=True, slots=True)
class Suspect:
    """A process that is foreign by what was said last. since: monotonic; since_ms: unix milliseconds."""

    process: pb.Process
    claims: Sequence[Held]
    since: float
    since_ms: int
    proven: bool = False

    @property
    def told(self) -> str:
        one = self.process
        return f"pid {one.pid} ({one.command}) of {one.user}, in {one.cgroup}"


class OnDevice(NamedTuple):
    """foreign: one of each of told.processes, None where it cannot be told, or not yet. proven: those that are."""

    told: pb.Processes
    foreign: tuple[bool | None, ...]
    proven: tuple[Suspect, ...]


class Processes:
    """grace_s: of a row of the fleet, for how long a process may be a passing thing."""

    def __init__(self, fleet: Fleet, imports: Imports, grace_s: Callable[[int], float], note: Note) -> None:
        self._fleet = fleet
        self._imports = imports
        self._grace_s = grace_s
        self._note = note
        self._told: dict[int, pb.Processes] = {}  # by row
        self._suspects: dict[int, dict[_Key, Suspect]] = {}  # by row
        self._dirty: set[int] = set()  # rows whose processes are others since they were judged

    def take(self, node: str, told: pb.Processes) -> None:
        """What a node's agent says of one of its devices; of others it has nothing to say."""
        row = self._fleet.find(told.device)
        if row is not None and self._fleet.has(node, told.device):
            self._told[row] = told
            self._dirty.add(row)

    def gone(self, node: str) -> None:
        """A node is not heard any more: what is on its devices is not known."""
        for row in self._rows(node):
            if self._told.pop(row, None) is not None:
                self._dirty.add(row)

    def bring_up_to_date(self, now: float, wall: float) -> None:
        """Write what is true at `now` (monotonic) to the fleet: foreign. After the ledgers."""
        self._dirty.update(row for node in self._imports.rematched for row in self._rows(node) if row in self._told)
        self._imports.rematched.clear()
        for row in self._dirty:
            self._suspect(row, now, wall)
        self._dirty.clear()
        for row in self._suspects:
            self._prove(row, now)

    def on_device(self, row: int) -> OnDevice | None:
        """As of the last bring_up_to_date; None: its agent said nothing."""
        told = self._told.get(row)
        if told is None or not self._fleet.present[row]:
            return None
        suspects, claims = self._suspects.get(row, {}), self._imports.claims_on(row)
        foreign = tuple(_verdict(suspects.get(_key(one)), is_foreign(one, claims)) for one in told.processes)
        return OnDevice(told, foreign, tuple(one for one in suspects.values() if one.proven))

    def _rows(self, node: str) -> Iterable[int]:
        found = self._fleet.node(node)
        return () if found is None else found.rows

    def _suspect(self, row: int, now: float, wall: float) -> None:
        """Who was a suspect under the same claims stays one since then."""
        before, claims = self._suspects.pop(row, {}), self._imports.claims_on(row)
        self._fleet.foreign[row] = False
        told = self._told.get(row)
        found: dict[_Key, Suspect] = {}
        for process in told.processes if told is not None else ():
            if is_foreign(process, claims):
                known = before.get(_key(process))
                if known is None or known.claims != claims:
                    known = Suspect(process, claims, now, round(wall * 1000))
                found[_key(process)] = known
        if found:
            self._suspects[row] = found

    def _prove(self, row: int, now: float) -> None:
        fleet, suspects = self._fleet, self._suspects[row]
        is_fresh, read_at, grace_s = fleet.imported[row] == LEASED, self._imports.read_at(row), self._grace_s(row)
        for key, one in suspects.items():
            if is_fresh and not one.proven and now - one.since >= grace_s and read_at > one.since:
                suspects[key] = replace(one, proven=True)
                holder = self._imports.holder(row)
                self._note(
                    EventKind.FOREIGN_PROCESS, fleet.nodes[fleet.owner[row]].name, fleet.identities[row].uuid,
                    f"{one.told}, is neither of the user nor in the control group of {holder}, which has the device",
                )
        fleet.foreign[row] = is_fresh and any(one.proven for one in suspects.values())


def _key(process: pb.Process) -> _Key:
    return process.pid, process.started_ms


def _verdict(suspect: Suspect | None, foreign: bool | None) -> bool | None:
    if suspect is not None and suspect.proven:
        return True
    return False if foreign is False else None  # suspicion is no proof
