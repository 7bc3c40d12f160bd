"""Judges leases by what the clients of a run wrote down, device by device."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import NamedTuple

from fallow_proto.dispatch import Fault
from tests.e2e.race.judge import judge as overlaps_of
from tests.faults.leases.checker import Step, stuck_at
from tests.faults.leases.history import UNKNOWN, Ask, Op, Sight
from tests.faults.leases.register import Kind

ENDED = frozenset({Fault.LEASE_ENDED, Fault.LEASE_NOT_FOUND})
EXPECTED = frozenset({"", UNKNOWN, *ENDED})
SEEN = {"reserved": Kind.SEEN_RESERVED, "leased": Kind.SEEN_LEASED, "releasing": Kind.SEEN_RELEASING}
DONE = {Ask.COMMIT: Kind.COMMITTED, Ask.RENEW: Kind.KEPT, Ask.RELEASE: Kind.RELEASED}


class Lease(NamedTuple):
    """What is known of one from all that was said of it. owned_until: its holder may believe so until then, if they do
    not give it back. until: the collector may say so until then, down time apart."""

    token: int
    devices: tuple[str, ...]
    taken: Step
    owned_until: float
    until: float


class Away(NamedTuple):
    """When the collector did not run, and by how much more that may have prolonged leases."""

    since: float
    until: float
    more_s: float


def faults_of(ops: Sequence[Op], devices: Iterable[str]) -> list[str]:
    """What contradicts the promises; nothing, if they were kept."""
    leases = {lease.token: lease for lease in _leases(ops)}
    found = [f"{op.ask} of {op.token} by {op.who} was refused as {op.code}" for op in ops if not _is_expected(op)]
    found += _one_lease_a_key(ops)
    found += overlaps_of(json.dumps(line) for line in _claims(ops)).faults
    for device in devices:
        if stuck := stuck_at(_steps(ops, leases, device)):
            found.append(f"{device} is not linearizable: none can come next of {'; '.join(map(str, stuck[:5]))}")
    return found


def latest_s(ops: Sequence[Op], away: Sequence[Away]) -> float:
    """By how much a lease was shown at the most after its time had come, down time apart."""
    leases = {lease.token: lease for lease in _leases(ops)}
    late = [
        op.invoked - leases[sight.token].until - _away_s(away, leases[sight.token].taken.invoked, op.invoked)
        for op in ops for sight in op.seen if sight.state in ("reserved", "leased") and sight.token in leases
    ]
    return max(late, default=-inf)


def _away_s(away: Iterable[Away], since: float, until: float) -> float:
    return sum(
        min(each.until, until) - max(each.since, since) + each.more_s
        for each in away if each.since < until and each.until > since
    )


def _is_expected(op: Op) -> bool:
    """Reserving may be refused for many reasons; whoever has a lease is told that it has ended, and nothing else."""
    return op.ask is Ask.RESERVE or op.code in EXPECTED or (op.ask is Ask.COMMIT and op.code == Fault.NOT_RESERVED)


def _one_lease_a_key(ops: Iterable[Op]) -> Iterator[str]:
    tokens: dict[str, int] = {}
    for op in ops:
        if op.ask is Ask.RESERVE and op.is_done and tokens.setdefault(op.key, op.token) != op.token:
            yield f"one key of {op.who} made two leases: {tokens[op.key]} and {op.token}"


def _leases(ops: Sequence[Op]) -> Iterator[Lease]:
    """Those that a RESERVE was answered with, and those that a READ showed although their RESERVE had no answer yet."""
    asked: dict[str, float] = {}  # by key: when it was first
    ends: defaultdict[int, list[Op]] = defaultdict(list)
    first: dict[int, Op] = {}
    sights: dict[int, tuple[Op, Sight]] = {}
    of_holder: defaultdict[str, list[Op]] = defaultdict(list)
    for op in ops:
        if op.ask is Ask.RESERVE:
            asked.setdefault(op.key, op.invoked)
            of_holder[op.who].append(op)
        if op.token and op.ask is not Ask.RELEASE and op.code in ("", UNKNOWN):
            ends[op.token].append(op)
        if op.ask is Ask.RESERVE and op.is_done:
            first.setdefault(op.token, op)
        for sight in op.seen:
            sights.setdefault(sight.token, (op, sight))
    for token, op in first.items():
        kind = Kind.RESERVED if op.hold else Kind.LEASED
        taken = Step(asked[op.key], op.ended, kind, token, op.who)
        yield Lease(
            token, tuple(op.devices), taken, max(end.invoked + end.ttl_s for end in ends[token] if end.is_done),
            max(end.ended + end.ttl_s for end in ends[token]),
        )
    for token, (read, sight) in sights.items():
        if token in first:
            continue
        # Of which of their calls it is, nobody was told.
        tries = [op for op in of_holder[sight.holder] if not op.is_done and op.invoked < read.ended]
        assert tries, f"lease {token} of {sight.holder} is shown, and nobody who asked for it lacks an answer"
        since = asked[tries[0].key]
        kind = Kind.LEASED if sight.state == "leased" else Kind.RESERVED
        taken = Step(since, inf, kind, token, sight.holder, must=False)
        ttl_s = tries[0].ttl_s
        yield Lease(token, tuple(sight.devices), taken, since + ttl_s, tries[-1].ended + ttl_s)


def _claims(ops: Iterable[Op]) -> Iterator[dict[str, object]]:
    """As the judge of races wants them: from an answer on, until a TTL after it was asked for or the release."""
    devices: dict[int, list[str]] = {}
    released: set[int] = set()
    for op in sorted(ops, key=lambda op: op.ended):
        if op.ask is Ask.RESERVE and op.is_done:
            devices[op.token] = op.devices
        if op.ask is Ask.RELEASE and op.token not in released:
            released.add(op.token)
            yield {"what": "release", "lease": op.token, "at": op.invoked}
        elif op.is_done and op.ask in (Ask.RESERVE, Ask.COMMIT, Ask.RENEW):
            yield {
                "what": "own", "lease": op.token, "token": op.token, "at": op.ended, "until": op.invoked + op.ttl_s,
                "devices": devices[op.token],
            }


def _steps(ops: Sequence[Op], leases: dict[int, Lease], device: str) -> Iterator[Step]:
    for lease in leases.values():
        if device in lease.devices:
            yield lease.taken
            yield Step(lease.owned_until, inf, Kind.EXPIRED, lease.token, must=False)
    taken: set[int] = set()
    for op in ops:
        if op.ask is Ask.READ and op.is_done:
            yield from _sight(op, device)
        elif op.token not in leases or device not in leases[op.token].devices:
            continue
        elif op.ask is not Ask.RESERVE:
            yield from _step(op, several=len(leases[op.token].devices) > 1)
        elif op.token in taken:
            yield Step(op.invoked, op.ended, Kind.KEPT, op.token, op.who)
        else:
            taken.add(op.token)


def _step(op: Op, several: bool) -> Iterator[Step]:
    """What a holder did to a lease, or was refused."""
    if op.code in ENDED:
        yield Step(op.invoked, op.ended, Kind.REFUSED_AS_ENDED, op.token, op.who)
    elif op.code == Fault.NOT_RESERVED:
        yield Step(op.invoked, op.ended, Kind.REFUSED_AS_COMMITTED, op.token, op.who)
    elif op.code in ("", UNKNOWN):
        kind = Kind.RELEASED_WITH_OTHERS if op.ask is Ask.RELEASE and several else DONE[op.ask]
        yield Step(op.invoked, op.answered, kind, op.token, op.who, must=op.is_done)


def _sight(op: Op, device: str) -> Iterator[Step]:
    """A lease of several devices is shown with all of them until the last is free."""
    shown = [sight for sight in op.seen if device in sight.devices]
    held = [sight for sight in shown if sight.state != "releasing"]
    if not shown:
        yield Step(op.invoked, op.ended, Kind.SEEN_FREE, 0, op.who)
    elif held or len(shown[-1].devices) == 1:
        sight = held[-1] if held else shown[-1]
        yield Step(op.invoked, op.ended, SEEN[sight.state], sight.token, op.who)
