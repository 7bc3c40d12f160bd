"""What schedulers say they have allocated, over the fleet's rows. Pure: the times are arguments.

A device that a scheduler owns is what its ledger says while that is fresh, and unknown when it is not; it is given
back when the ledger does not name it any more. Where two ledgers claim one device, the older claim counts, and it is
free only if it is so to both.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fallow_collector.fleet.fleet import Fleet
from fallow_collector.ledgers.claim import NEVER, Claim, Held, claim_of, of_import, of_node, row_of
from fallow_collector.ledgers.match import FREE, LEASED, UNKNOWN, Device, Matched, match
from fallow_collector.state import OwnedRow
from fallow_proto import dispatch
from fallow_proto.v1 import telemetry_pb2 as pb

OWN = 0  # position of Fallow's own ledger

log = logging.getLogger(__name__)


class Imported(NamedTuple):
    """What was imported at once: a ledger of a node, or a whole one, whose node is empty. age_s: since it was read;
    None: not since the collector started."""

    ledger: str
    node: str
    age_s: float | None
    stale: bool


class Imports:
    """restart(rows, short): the confirmation windows of these start anew (Engine.restart)."""

    def __init__(
        self, fleet: Fleet, stale_s: float, restart: Callable[[NDArray[np.integer], bool], None]
    ) -> None:
        self.unkept: set[str] = set()  # ledgers whose ownership is not on disk as it is now
        self.rematched: set[str] = set()  # nodes whose devices may have other claims since somebody emptied it
        self._fleet = fleet
        self._stale_s = stale_s
        self._restart = restart
        self._claims: dict[str, dict[str, Claim]] = {}  # ledger -> node -> claim
        self._last: dict[str, dispatch.LedgerImport] = {}  # whole ledgers as they came
        self._whole_at: dict[str, float] = {}  # when these were read
        self._matched: dict[tuple[str, str], Matched] = {}
        self._rows: dict[tuple[str, str], NDArray[np.intp]] = {}  # of the devices that a claim has got
        self._rivals: dict[str, list[tuple[str, str]]] = {}  # node -> (ledger that claims in vain, line)
        self._dirty: set[str] = set()  # nodes that must be matched again
        # By row: whose it is to hand out, what that ledger said last, when that was read, and whether a job has had it
        # since it was free last.
        self._ledger = np.zeros(0, dtype=np.int16)
        self._says = np.zeros(0, dtype=np.uint8)
        self._read_at = np.zeros(0, dtype=np.float64)
        self._used = np.zeros(0, dtype=np.bool_)

    # --- what schedulers say ---

    def restore(self, rows: Iterable[OwnedRow]) -> None:
        """What was owned in an earlier run: unknown until its scheduler speaks again."""
        for row in rows:
            self._claims.setdefault(row.ledger, {})[row.node] = claim_of(row)
            self._dirty.add(row.node)

    def take(self, name: str, taken: dispatch.LedgerImport, now: float, wall: float) -> bool:
        """Everything that a scheduler has. False: it was read before what it said last, and changes nothing.

        now: monotonic; wall: unix seconds. Expects that every job's node is in `taken.nodes`.
        """
        read_at = now - taken.age_s
        if read_at < self._whole_at.get(name, NEVER):
            return False
        last = self._last.get(name)
        if last is None or (last.nodes, last.jobs) != (taken.nodes, taken.jobs):
            after = of_import(taken, wall, read_at)
            for node in self._claims.setdefault(name, {}).keys() | after.keys():
                self._replace(name, node, after.get(node))
        self._last[name], self._whole_at[name] = taken, read_at
        self._read_at[self._ledger == self._number(name)] = read_at
        return True

    def take_node(self, node: str, ledger: pb.Ledger, now: float, wall: float) -> None:
        """What the daemon of a scheduler on a node has."""
        before = self._claims.get(ledger.name, {}).get(node)
        claim = of_node(node, ledger, before, wall, now - max(0.0, ledger.age_s))
        self._last.pop(ledger.name, None)  # what came as a whole is not all that was said any more
        if not self._replace(ledger.name, node, claim):
            self._read_at[self._rows.get((ledger.name, node), [])] = claim.read_at

    def give_back(self, name: str) -> bool:
        """All devices of a ledger. False: there is no such ledger."""
        if name not in self._claims:
            return False
        for node in list(self._claims[name]):
            self._replace(name, node, None)
        del self._claims[name]
        self._last.pop(name, None)
        self._whole_at.pop(name, None)
        self.unkept.add(name)
        return True

    def owned(self, name: str) -> list[OwnedRow]:
        return [row_of(name, claim) for claim in self._claims.get(name, {}).values()]

    @property
    def names(self) -> list[str]:
        return sorted(self._claims)

    # --- what that means for devices ---

    def bring_up_to_date(self, now: float, wall: float) -> None:
        """Write what is true of the fleet at `now` (monotonic): imported, ledger, allocated_at."""
        if not self._claims and not len(self._ledger):
            return
        fleet, count = self._fleet, self._fleet.count
        self._grow(count)
        self._match_again()
        stale = now - self._read_at > self._stale_s
        imported = np.where(stale & (self._ledger != OWN), np.uint8(UNKNOWN), self._says)
        changed = imported != fleet.imported[:count]
        if changed.any():
            fleet.imported[:count] = imported
            since = np.flatnonzero(changed & (fleet.allocation[:count] == FREE))
            fleet.allocated_at[since] = now
        fleet.ledger[:count] = self._ledger

    def state(self, name: str, now: float) -> dispatch.LedgerState:
        """As of the last bring_up_to_date. Raises KeyError."""
        claims = self._claims[name]
        whole_at = self._whole_at.get(name, NEVER)
        read_at = max(whole_at, min((claim.read_at for claim in claims.values()), default=NEVER))
        mine = (self._ledger == self._number(name)) & self._fleet.alive[: len(self._ledger)]
        unmatched = [line for node in claims for line in self._matched[name, node].unmatched]
        rivals = [line for node in claims for vain, line in self._rivals.get(node, ()) if vain == name]
        return dispatch.LedgerState(
            name=name,
            age_s=None if read_at == NEVER else now - read_at,
            stale=not now - read_at <= self._stale_s,
            nodes=len(claims),
            devices=int(mine.sum()),
            allocated=int((mine & (self._says == LEASED)).sum()),
            unmatched=unmatched + rivals,
        )

    def imported(self, now: float) -> list[Imported]:
        """All ledgers. now: monotonic."""
        found = []
        for name, claims in self._claims.items():
            whole = {"": self._whole_at[name]} if name in self._whole_at else {}
            of_nodes = {node: claim.read_at for node, claim in claims.items()}
            if all(read_at == NEVER for read_at in of_nodes.values()):
                of_nodes = {"": NEVER}  # of an earlier run: nobody knows how it will come
            for node, read_at in (whole or of_nodes).items():
                age_s = None if read_at == NEVER else now - read_at
                found.append(Imported(name, node, age_s, age_s is None or age_s > self._stale_s))
        return found

    def holder(self, row: int) -> str:
        """The job that has the device, as its scheduler says; empty: none, or it does not say."""
        claims = self.claims_on(row) if self._fleet.imported[row] == LEASED else ()
        return claims[-1].holder if claims else ""

    def claims_on(self, row: int) -> tuple[Held, ...]:
        """What the jobs that have the device said last of themselves; empty: none has it, or they do not say."""
        if row >= len(self._says) or self._says[row] != LEASED:
            return ()
        node = self._fleet.nodes[self._fleet.owner[row]].name
        matched = self._matched.get((self._fleet.ledgers[self._ledger[row]], node))
        return matched.claims.get(row, ()) if matched is not None else ()

    def read_at(self, row: int) -> float:
        """When the scheduler that owns the device was read; −inf: never."""
        return float(self._read_at[row]) if row < len(self._read_at) else NEVER

    # --- inside ---

    def _replace(self, name: str, node: str, claim: Claim | None) -> bool:
        """Whether that says anything new."""
        claims = self._claims.setdefault(name, {})
        before = claims.pop(node, None)
        if claim is not None:
            claims[node] = claim if before is None else replace(claim, since=before.since)
        new = before is None or claim is None or not claim.says_like(before)
        if new:
            self._dirty.add(node)
        if before is None or claim is None or not claim.owns_like(before):
            self.unkept.add(name)
        return new

    def _number(self, name: str) -> int:
        ledgers = self._fleet.ledgers
        if name not in ledgers:
            ledgers.append(name)
        return ledgers.index(name)

    def _grow(self, count: int) -> None:
        more = count - len(self._ledger)
        if more > 0:
            self._ledger = np.concatenate([self._ledger, np.full(more, OWN, dtype=np.int16)])
            self._says = np.concatenate([self._says, np.full(more, FREE, dtype=np.uint8)])
            self._read_at = np.concatenate([self._read_at, np.full(more, NEVER)])
            self._used = np.concatenate([self._used, np.zeros(more, dtype=np.bool_)])

    def _match_again(self) -> None:
        """Only nodes of which somebody said something new."""
        fleet = self._fleet
        names = {fleet.nodes[number].name for number in fleet.greeted} | self._dirty
        fleet.greeted.clear()
        self._dirty.clear()
        self.rematched |= names
        if not names:
            return
        devices = self._devices(names)
        for node in names:
            self._match_node(node, devices.get(node, []))

    def _devices(self, names: set[str]) -> dict[str, list[Device]]:
        fleet, count = self._fleet, self._fleet.count
        numbers = [node.number for name in names if (node := fleet.node(name)) is not None]
        rows = np.flatnonzero(np.isin(fleet.owner[:count], numbers) & fleet.alive[:count] & ~fleet.host[:count])
        devices = defaultdict(list)
        for row in rows.tolist():
            devices[fleet.nodes[fleet.owner[row]].name].append(Device(row, fleet.identities[row]))
        return devices

    def _match_node(self, node: str, devices: list[Device]) -> None:
        for row, _ in devices:
            self._used[row] |= self._says[row] == LEASED
            self._ledger[row], self._says[row], self._read_at[row] = OWN, FREE, NEVER
        claimed: dict[int, str] = {}
        rivals = []
        claims = [(claims[node].since, name, claims[node]) for name, claims in self._claims.items() if node in claims]
        for _, name, claim in sorted(claims, key=lambda one: one[:2]):
            matched = self._matched[name, node] = match(claim, devices)
            if self._fleet.node(node) is None:
                matched.unmatched.append(f"{node} * no agent of a node of this name has reported")
            mine = [row for row in matched.says if row not in claimed]
            for row in mine:
                self._ledger[row], self._says[row] = self._number(name), matched.says[row]
                self._read_at[row] = max(claim.read_at, self._whole_at.get(name, NEVER))
            for row in matched.says.keys() - mine:
                if matched.says[row] != FREE and self._says[row] == FREE:
                    self._says[row] = UNKNOWN  # they disagree: to both of them it is not free
                uuid = self._fleet.identities[row].uuid
                rivals.append((name, f"{node} {uuid} is of ledger {claimed[row]}, whose claim is older"))
            claimed.update(dict.fromkeys(mine, name))
            self._rows[name, node] = np.array(mine, dtype=np.intp)
        if rivals != self._rivals.get(node, []):
            for name, line in rivals:
                log.warning("two ledgers claim a device ledger=%s claim=%r", name, line)
        self._rivals[node] = rivals
        # A job has ended: what was seen of the device while it ran does not count, and never is it idle at once.
        freed = [row for row, _ in devices if self._used[row] and self._says[row] == FREE]
        if freed:
            self._used[freed] = False
            self._restart(np.array(freed, dtype=np.intp), True)
