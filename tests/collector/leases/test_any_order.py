"""What must hold under any order of requests, readings, crashes, lost files and jumping clocks, seen by the holders.

A decision is on disk before its holder hears of it; a crash may come before the disk has it, or after that and before
the holder has heard.
"""

import tempfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fallow_collector.faulted import Faulted
from fallow_collector.leases import Claimant, Clock, Decision, Held, Lease, LeaseFile, Ledger, Standing, State
from fallow_collector.leases.file import FILE
from fallow_proto.dispatch import Claim, Reserve
from fallow_proto.v1 import telemetry_pb2 as pb

DEVICES = {uuid: Held(uuid, node) for uuid, node in (("g0", "n1"), ("g1", "n1"), ("g2", "n2"))}
HOLDERS = [Claimant("", "alice"), Claimant("", "bob")]
CRASHES = st.sampled_from(["no"] * 5 + ["before the disk", "before the reply"])
SUBSETS = st.sets(st.sampled_from(sorted(DEVICES)), min_size=1)


def encode(wanted: Reserve) -> bytes:
    return msgspec.json.encode(wanted)


class Crashed(Exception):
    pass


class Holders(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now, self.wall = 1000.0, 1_700_000_000.0
        self.told: dict[str, Lease] = {}  # leases whose holders have been told, and how
        self.tokens: dict[str, int] = {}  # the highest that a holder of each device was told
        self.keys: dict[tuple[Claimant, bytes], str] = {}
        self.nodes: dict[str, pb.DeviceFence] = {}  # what each device's node keeps
        self.cleaned: set[str] = set()
        self.open()
        self.before = self.allocations()

    def open(self) -> None:
        self.file = LeaseFile(Path(self.folder.name))
        self.file._connection.execute("PRAGMA synchronous = OFF")  # no power fails here, and steps are many
        rows, standing = self.file.load()
        self.clock = Clock.resumed(standing.clock, self.now)
        self.ledger = Ledger(30.0, 1e9, map(self.clock.lease_of, rows), standing.last_token, self.wall)

    def teardown(self) -> None:
        self.file.close()
        self.folder.cleanup()

    def allocations(self) -> dict[str, str]:
        return {uuid: str(word) for uuid, word in self.ledger.allocations()}

    def perform(self, decision: Decision, crash: str = "no") -> None:
        """As the desk does."""
        if crash == "before the disk":
            raise Crashed
        rows = [self.clock.row_of(lease) for lease in decision.changed]
        standing = Standing(self.ledger.tokens.last, self.clock.shows(self.now))
        self.file.write(rows, decision.forgotten, standing)
        for order in decision.orders:
            kept = self.nodes.get(order.fence.device)
            if kept is None or order.fence.token >= kept.token:
                self.nodes[order.fence.device] = order.fence
        if crash == "before the reply":
            raise Crashed

    def asked(self, call: Callable[[], tuple[Lease, Decision]], crash: str) -> Lease | None:
        """What the holder hears; None: nothing, or a refusal."""
        self.perform(self.ledger.expire(self.now))
        try:
            lease, decision = call()
        except Faulted:
            return None
        try:
            self.perform(decision, crash)
        except Crashed:
            self.reopen()
            return None
        return lease

    def reopen(self) -> None:
        self.file.close()
        self.now -= 900.0  # another boot's monotonic clock
        self.open()

    # --- holders ---

    @rule(who=st.sampled_from(HOLDERS), uuids=SUBSETS, hold=st.booleans(), key=st.sampled_from(["", "", "k1", "k2"]),
          ttl_s=st.sampled_from([0.0, 5.0, 200.0]), crash=CRASHES)
    def reserve(self, who: Claimant, uuids: set[str], hold: bool, key: str, ttl_s: float, crash: str) -> None:
        wanted = Reserve(holder=who.holder, devices=sorted(uuids), hold=hold, key=key, ttl_s=ttl_s)
        self.perform(self.ledger.expire(self.now))
        try:
            found = self.ledger.repeated(who, wanted)
        except Faulted:
            return
        known = self.keys.get((who, encode(wanted))) if key else None
        if found is not None:
            assert known in (None, found.lease_id)
            self.keys[who, encode(wanted)] = found.lease_id
            self.hear(found)
            return
        assert known is None or known not in {lease.lease_id for lease in self.ledger.leases()}
        lease = self.asked(
            lambda: self.ledger.reserve(who, wanted, [DEVICES[u] for u in wanted.devices], self.now, self.wall), crash
        )
        if lease is not None:
            for uuid in uuids:
                assert lease.token > self.tokens.get(uuid, 0)
            if key:
                self.keys[who, encode(wanted)] = lease.lease_id
            self.hear(lease)

    def hear(self, lease: Lease) -> None:
        self.told[lease.lease_id] = lease
        for held in lease.devices:
            self.tokens[held.uuid] = max(self.tokens.get(held.uuid, 0), lease.token)

    @precondition(lambda self: self.told)
    @rule(data=st.data(), what=st.sampled_from(["commit", "renew", "release"]), crash=CRASHES)
    def claim(self, data: st.DataObject, what: str, crash: str) -> None:
        lease = data.draw(st.sampled_from(sorted(self.told.values(), key=lambda one: one.lease_id)))
        claim = Claim(fencing_token=lease.token)
        call = getattr(self.ledger, what)
        heard = self.asked(lambda: call(lease.lease_id, lease.claimant.caller, claim, self.now), crash)
        if heard is not None:
            assert heard.lease_id == lease.lease_id
            self.told[lease.lease_id] = heard

    # --- what happens ---

    @rule(seconds=st.sampled_from([0.5, 3.0, 40.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.perform(self.ledger.expire(self.now))

    @rule(seconds=st.sampled_from([-1e6, 1e6]))
    def wall_clock_jumps(self, seconds: float) -> None:
        self.wall += seconds

    @rule(uuids=SUBSETS, crash=CRASHES)
    def seen_clean(self, uuids: set[str], crash: str) -> None:
        self.cleaned = uuids
        try:
            self.perform(self.ledger.seen(uuids, set(DEVICES) - uuids, self.now), crash)
        except Crashed:
            self.reopen()

    @rule(node=st.sampled_from(["n1", "n2"]))
    def hello(self, node: str) -> None:
        mine = [held.uuid for held in DEVICES.values() if held.node == node]
        fences = [self.nodes[uuid] for uuid in mine if uuid in self.nodes]
        self.perform(self.ledger.hello(node, mine, fences, self.now, self.wall))

    @rule(uuid=st.sampled_from(sorted(DEVICES)), by=st.sampled_from([0, 5]))
    def fenced(self, uuid: str, by: int) -> None:
        kept = self.nodes.get(uuid)
        if kept is not None:
            kept.token += by
            self.perform(self.ledger.fenced(DEVICES[uuid].node, [kept]))

    @rule()
    def crash(self) -> None:
        self.reopen()

    @rule()
    def lose_the_file(self) -> None:
        """By then the wall clock is right again, and every node says Hello before anybody is given a device."""
        self.file.close()
        for path in Path(self.folder.name).glob(f"{FILE.name}*"):
            path.unlink()
        self.wall = max(self.wall, max(self.tokens.values(), default=0) / 1000 + 1)
        self.open()
        self.told.clear()
        self.keys.clear()
        for node in ("n1", "n2"):
            self.hello(node)
        self.before = self.allocations()

    # --- what must hold ---

    @invariant()
    def no_device_is_of_two_leases(self) -> None:
        open_leases = [lease for lease in self.ledger.leases() if lease.state is not State.ENDED]
        assert all(not one.open & other.open for one, other in combinations(open_leases, 2))

    @invariant()
    def no_holder_believes_in_a_device_that_another_one_was_given(self) -> None:
        """Who was told of a device and not yet that it is over has the highest token, or is refused."""
        for lease in self.told.values():
            current = self.ledger.current(lease)
            if current.state in (State.RESERVED, State.LEASED):
                assert all(lease.token == self.tokens[held.uuid] for held in current.devices)

    @invariant()
    def what_holders_were_told_is_on_disk(self) -> None:
        on_disk = {row.lease_id: row for row in self.file.load()[0]}
        for lease in self.told.values():
            if self.ledger.current(lease).state in (State.RESERVED, State.LEASED):
                assert on_disk[lease.lease_id].token == lease.token

    @invariant()
    def no_device_is_free_before_it_was_released_and_seen_clean(self) -> None:
        after = self.allocations()
        for uuid, word in self.before.items():
            if uuid not in after:
                assert word == "releasing", f"{uuid} went from {word} to free"
                assert uuid in self.cleaned
        self.before, self.cleaned = after, set()


TestHolders = Holders.TestCase
TestHolders.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
