"""The table of leases, cell by cell, as the ledger and as dispatchers meet it."""

import pytest

from fallow_collector.faulted import Faulted
from fallow_collector.leases.lease import Claimant, Held, Lease
from fallow_collector.leases.ledger import Ledger
from fallow_collector.leases.table import TABLE, Command, State, after
from fallow_proto.dispatch import Claim, Fault, Reserve
from fallow_proto.v1 import telemetry_pb2 as pb

DEVICES = (Held("g0", "n1"), Held("g1", "n2"))
ALICE = Claimant("", "alice")
WALL = 1_700_000_000.0


class Stand:
    """A ledger with one lease in a state; it was made at 100 by the ledger's clock, with a TTL of 30 s."""

    def __init__(self, state: State | None) -> None:
        self.ledger = Ledger(reserve_ttl_s=30.0, stuck_s=600.0)
        self.lease_id, self.token = "none", 1
        self.made: Lease | None = None
        self.wanted = Reserve(devices=["g0", "g1"], hold=state is State.RESERVED, ttl_s=30.0, key="k", holder="alice")
        if state is not None:
            self.made, _ = self.ledger.reserve(ALICE, self.wanted, DEVICES, 100.0, WALL)
            self.lease_id, self.token = self.made.lease_id, self.made.token
        if state in (State.RELEASING, State.ENDED):
            self.ledger.release(self.lease_id, "", self.claim(), 101.0)
        if state is State.ENDED:
            self.ledger.seen(["g0", "g1"], [], 102.0)

    def claim(self) -> Claim:
        return Claim(fencing_token=self.token, holder="alice")

    def state(self) -> State | None:
        return None if self.made is None else self.ledger.current(self.made).state

    def do(self, command: Command) -> None:
        now = 105.0
        higher = [pb.DeviceFence(device=held.uuid, token=self.token + 1, held=True) for held in DEVICES]
        match command:
            case Command.RESERVE:
                if self.ledger.repeated(ALICE, self.wanted) is None:
                    self.made, _ = self.ledger.reserve(ALICE, self.wanted, DEVICES, now, WALL)
            case Command.COMMIT:
                self.ledger.commit(self.lease_id, "", self.claim(), now)
            case Command.RENEW:
                self.ledger.renew(self.lease_id, "", self.claim(), now)
            case Command.RELEASE:
                self.ledger.release(self.lease_id, "", self.claim(), now)
            case Command.EXPIRE:
                self.ledger.expire(131.0)
            case Command.FENCED_HIGHER:
                self.ledger.fenced("n1", higher)
            case Command.UNKEPT:
                assert self.made is not None
                self.ledger.unkept(self.made)
            case Command.RETIRED:
                for held in DEVICES:
                    self.ledger.retired(held.uuid, now)
            case Command.CLEAN:
                self.ledger.seen(["g0", "g1"], [], now)
            case Command.STUCK:
                self.ledger.seen([], ["g0", "g1"], now)
                self.ledger.seen([], ["g0", "g1"], now + 600)


CELLS = [(row.command, state) for row in TABLE for state in State]


def test_the_table_is_total_and_each_command_stands_in_it_once() -> None:
    assert [row.command for row in TABLE] == list(Command)
    assert all(after(state, command) for state in (None, *State) for command in Command)


def test_no_state_leads_from_a_holder_to_free_but_through_releasing() -> None:
    for row in TABLE:
        assert row.reserved is not State.ENDED
        assert row.leased is not State.ENDED


@pytest.mark.parametrize(("command", "state"), CELLS)
def test_the_ledger_does_what_the_table_says(command: Command, state: State) -> None:
    stand = Stand(state)
    expected = after(state, command)
    if isinstance(expected, State):
        stand.do(command)
        assert stand.state() is expected
        return
    with pytest.raises(Faulted) as raised:
        stand.do(command)
    assert raised.value.fault is expected
    assert stand.state() is state


@pytest.mark.parametrize("command", [Command.COMMIT, Command.RENEW, Command.RELEASE])
def test_of_a_lease_that_never_was_nothing_is_known(command: Command) -> None:
    with pytest.raises(Faulted) as raised:
        Stand(None).do(command)
    assert raised.value.fault is Fault.LEASE_NOT_FOUND


def test_a_reservation_of_nothing_is_made_as_held_or_leased() -> None:
    for hold, state in ((True, State.RESERVED), (False, State.LEASED)):
        stand = Stand(None)
        stand.wanted = Reserve(devices=["g0", "g1"], hold=hold)
        stand.do(Command.RESERVE)
        assert stand.state() is state
