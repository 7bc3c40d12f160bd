"""What holders may do with leases, what time does to them, and what of nodes is believed."""

from collections.abc import Callable
from typing import Any

import pytest

from fallow_collector.faulted import Faulted
from fallow_collector.leases.decision import Decision
from fallow_collector.leases.lease import Claimant, Held, Lease
from fallow_collector.leases.ledger import Ledger
from fallow_collector.leases.table import State
from fallow_collector.leases.tokens import BELIEVED
from fallow_proto.dispatch import HOLD_MAX_S, LEASE_TTL_MAX_S, LEASE_TTL_S, TOKEN_LIMIT, Claim, Fault, Reserve
from fallow_proto.states import Allocation, EventKind
from fallow_proto.v1 import telemetry_pb2 as pb

WALL = 1_700_000_000.0
ALICE = Claimant("tokens-a", "alice")
G0, G1 = Held("g0", "n1"), Held("g1", "n2")


def ledger() -> Ledger:
    return Ledger(reserve_ttl_s=30.0, stuck_s=600.0)


def reserve(
    book: Ledger, *devices: Held, now: float = 100.0, wall: float = WALL, claimant: Claimant = ALICE,
    **wanted: Any,
) -> tuple[Lease, Decision]:
    asked = Reserve(holder=claimant.holder, devices=[held.uuid for held in devices or (G0,)], **wanted)
    return book.reserve(claimant, asked, devices or (G0,), now, wall)


def claim(lease: Lease, **more: Any) -> Claim:
    return Claim(fencing_token=lease.token, **more)


def allocations(book: Ledger) -> dict[str, str]:
    return {uuid: str(word) for uuid, word in book.allocations()}


def refused(fault: Fault, call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(Faulted) as raised:
        call(*arguments)
    assert raised.value.fault is fault
    return str(raised.value)


# --- holders ---


def test_a_commit_after_expiry_is_refused_and_changes_nothing() -> None:
    book = ledger()
    lease, _ = reserve(book, hold=True)
    book.expire(130.0)
    message = refused(Fault.LEASE_ENDED, book.commit, lease.lease_id, ALICE.caller, claim(lease), 130.0)
    assert "it was not committed within its TTL of 30 s; reserve anew" in message
    assert book.lease(lease.lease_id).state is State.RELEASING


def test_another_caller_and_another_holder_are_refused() -> None:
    book = ledger()
    lease, _ = reserve(book)
    for caller, holder in (("tokens-b", ""), ("tokens-b", "alice"), ("", "tokens-a/alice"), ("tokens-a", "bob")):
        for call in (book.renew, book.release, book.commit):
            refused(Fault.NOT_HOLDER, call, lease.lease_id, caller, claim(lease, holder=holder), 101.0)
    assert book.lease(lease.lease_id) == lease


def test_lower_and_foreign_tokens_are_refused() -> None:
    book = ledger()
    lease, _ = reserve(book)
    for token, fault in ((lease.token - 1, Fault.TOKEN_STALE), (0, Fault.TOKEN_STALE),
                         (lease.token + 1, Fault.TOKEN_FOREIGN)):
        refused(fault, book.renew, lease.lease_id, ALICE.caller, Claim(fencing_token=token), 101.0)
    assert book.lease(lease.lease_id) == lease


def test_a_device_of_another_lease_is_not_given_twice() -> None:
    book = ledger()
    reserve(book, G0)
    with pytest.raises(Faulted) as raised:
        reserve(book, G1, G0)
    assert (raised.value.fault, raised.value.uuids) == (Fault.NOT_IDLE, ["g0"])
    assert allocations(book) == {"g0": "leased"}


@pytest.mark.parametrize(("wanted", "ttl_s"), [
    ({}, LEASE_TTL_S), ({"ttl_s": LEASE_TTL_MAX_S}, LEASE_TTL_MAX_S), ({"hold": True}, 30.0),
    ({"hold": True, "ttl_s": HOLD_MAX_S}, HOLD_MAX_S),
])
def test_a_ttl_that_is_not_said_is_the_default(wanted: dict[str, Any], ttl_s: float) -> None:
    lease, _ = reserve(ledger(), **wanted)
    assert (lease.ttl_s, lease.until) == (ttl_s, 100.0 + ttl_s)


@pytest.mark.parametrize("wanted", [
    {"ttl_s": -1.0}, {"ttl_s": float("nan")}, {"ttl_s": float("inf")}, {"ttl_s": LEASE_TTL_MAX_S + 1},
    {"ttl_s": HOLD_MAX_S + 1, "hold": True},
])
def test_an_impossible_ttl_is_refused_and_nothing_is_taken(wanted: dict[str, Any]) -> None:
    book = ledger()
    with pytest.raises(Faulted) as raised:
        reserve(book, **wanted)
    assert raised.value.fault is Fault.BAD_TTL
    assert allocations(book) == {}


def test_a_renewal_prolongs_from_now_and_only_then_to_another_ttl() -> None:
    book = ledger()
    lease, _ = reserve(book, ttl_s=60.0)
    renewed, _ = book.renew(lease.lease_id, ALICE.caller, claim(lease), 150.0)
    assert renewed.until == 210.0
    renewed, _ = book.renew(lease.lease_id, ALICE.caller, claim(lease, ttl_s=10.0), 160.0)
    assert (renewed.until, renewed.ttl_s) == (170.0, 10.0)
    assert not book.expire(169.9).changed
    assert book.expire(170.0).changed[0].state is State.RELEASING


def test_a_commit_without_a_ttl_makes_a_lease_with_the_default_one() -> None:
    book = ledger()
    lease, _ = reserve(book, hold=True)
    committed, _ = book.commit(lease.lease_id, ALICE.caller, claim(lease), 110.0)
    assert (committed.state, committed.ttl_s, committed.until) == (State.LEASED, LEASE_TTL_S, 110.0 + LEASE_TTL_S)


def test_the_same_key_and_request_find_their_lease_and_another_request_is_refused() -> None:
    book = ledger()
    wanted = Reserve(devices=["g0"], key="k")
    lease, _ = book.reserve(ALICE, wanted, [G0], 100.0, WALL)
    assert book.repeated(ALICE, wanted) == lease
    assert book.repeated(Claimant("tokens-b", ""), wanted) is None
    refused(Fault.KEY_REUSED, book.repeated, ALICE, Reserve(devices=["g1"], key="k"))


def test_a_key_is_remembered_for_ten_minutes_after_its_lease_has_ended() -> None:
    book = ledger()
    wanted = Reserve(devices=["g0"], key="k")
    lease, _ = book.reserve(ALICE, wanted, [G0], 100.0, WALL)
    book.release(lease.lease_id, ALICE.caller, claim(lease), 110.0)
    book.seen(["g0"], [], 111.0)
    book.expire(111.0 + 599.0)
    refused(Fault.LEASE_ENDED, book.repeated, ALICE, wanted)
    assert book.expire(111.0 + 600.0).forgotten == (lease.lease_id,)
    assert book.repeated(ALICE, wanted) is None


def test_a_failure_soon_after_the_beginning_speaks_against_its_nodes() -> None:
    for seconds, outcome, failed in ((120.0, "failed", True), (120.1, "failed", False), (1.0, "ok", False)):
        book = ledger()
        lease, _ = reserve(book, G0, G1)
        _, decision = book.release(lease.lease_id, ALICE.caller, claim(lease, outcome=outcome), 100.0 + seconds)
        assert decision.failed == ((("n1", lease.lease_id), ("n2", lease.lease_id)) if failed else ())
        _, again = book.release(lease.lease_id, ALICE.caller, claim(lease, outcome=outcome), 100.0 + seconds)
        assert again.failed == ()


# --- ending ---


def test_each_device_ends_on_its_own_and_the_lease_with_the_last() -> None:
    book = ledger()
    lease, _ = reserve(book, G0, G1)
    _, released = book.release(lease.lease_id, ALICE.caller, claim(lease), 110.0)
    assert dict(released.allocations) == {"g0": Allocation.RELEASING, "g1": Allocation.RELEASING}
    decision = book.seen(["g1"], ["g0"], 111.0)
    assert decision.allocations == (("g1", Allocation.FREE),)
    assert allocations(book) == {"g0": "releasing"}
    book.seen(["g0"], [], 112.0)
    refused(Fault.LEASE_NOT_FOUND, book.lease, lease.lease_id)


def test_the_short_window_is_for_what_its_holder_released() -> None:
    for released in (True, False):
        book = ledger()
        lease, _ = reserve(book, ttl_s=10.0)
        decision = (
            book.release(lease.lease_id, ALICE.caller, claim(lease), 105.0)[1] if released else book.expire(110.0)
        )
        assert [window.short for window in decision.windows] == [released]
        assert [window.short for window in book.seen(["g0"], [], 111.0).windows] == [released]


def test_an_expired_lease_is_an_event_and_tells_its_nodes() -> None:
    book = ledger()
    lease, _ = reserve(book, G0, G1, ttl_s=10.0)
    decision = book.expire(110.0)
    assert [(note.kind, note.node, note.device) for note in decision.notes] == [
        (EventKind.LEASE_EXPIRED, "n1", "g0"), (EventKind.LEASE_EXPIRED, "n2", "g1"),
    ]
    assert {(order.node, order.fence.held, order.fence.token) for order in decision.orders} == {
        ("n1", False, lease.token), ("n2", False, lease.token),
    }


def test_an_expired_reservation_goes_the_same_way_and_no_node_ever_knew_of_it() -> None:
    book = ledger()
    reserve(book, hold=True)
    decision = book.expire(130.0)
    assert decision.orders == ()
    assert allocations(book) == {"g0": "releasing"}


def test_a_device_in_use_for_long_after_its_lease_is_given_up_with_an_event() -> None:
    book = ledger()
    lease, _ = reserve(book)
    book.release(lease.lease_id, ALICE.caller, claim(lease), 110.0)
    book.seen([], ["g0"], 111.0)
    assert book.seen([], ["g0"], 710.9) == Decision()
    decision = book.seen([], ["g0"], 711.0)
    assert decision.allocations == (("g0", Allocation.FREE),)
    assert [(note.kind, note.device) for note in decision.notes] == [(EventKind.RELEASE_STUCK, "g0")]
    assert [window.short for window in decision.windows] == [False]


def test_a_silent_device_stays_releasing_for_ever() -> None:
    book = ledger()
    lease, _ = reserve(book)
    book.release(lease.lease_id, ALICE.caller, claim(lease), 110.0)
    book.seen([], ["g0"], 111.0)
    book.seen([], [], 400.0)
    assert book.seen([], ["g0"], 800.0) == Decision()
    assert not book.expire(1e9).changed
    assert allocations(book) == {"g0": "releasing"}


# --- tokens and fences ---


def test_a_clock_that_is_set_back_after_the_start_lowers_no_token_even_when_the_file_was_lost() -> None:
    book = Ledger(reserve_ttl_s=30.0, stuck_s=600.0, wall=WALL)
    assert reserve(book, wall=WALL - 1e6)[0].token > int(WALL * 1000)


def test_of_a_lease_that_is_forgotten_nobody_believes_that_it_goes_on() -> None:
    book = ledger()
    lease, _ = reserve(book)
    book.release(lease.lease_id, ALICE.caller, claim(lease), 110.0)
    book.seen(["g0"], [], 111.0)
    book.expire(1000.0)
    assert book.current(lease).state is State.ENDED


def test_tokens_rise_when_the_wall_clock_jumps_back_and_forth() -> None:
    book = ledger()
    tokens = [
        reserve(book, Held(f"g{n}", "n1"), wall=wall)[0].token
        for n, wall in enumerate((WALL, WALL - 1e9, 0.0, WALL + 1e10, WALL, -5.0))
    ]
    assert tokens == sorted(set(tokens))
    assert tokens[0] == int(WALL * 1000)


def fence(lease: Lease, uuid: str = "g0", by: int = 0, held: bool = True) -> pb.DeviceFence:
    return pb.DeviceFence(device=uuid, token=lease.token + by, held=held, lease_id=lease.lease_id)


def test_a_lease_is_fenced_when_every_node_has_confirmed() -> None:
    book = ledger()
    lease, _ = reserve(book, G0, G1)
    assert book.fenced("n1", [fence(lease)]).answered == (lease.lease_id,)
    assert not book.lease(lease.lease_id).is_fenced
    book.fenced("n1", [fence(lease, "g1")])  # another node has no say of it
    assert not book.lease(lease.lease_id).is_fenced
    book.fenced("n2", [fence(lease, "g1")])
    assert book.lease(lease.lease_id).is_fenced


def test_a_higher_token_on_the_node_ends_the_lease_and_the_next_token_is_above_it() -> None:
    book = ledger()
    lease, _ = reserve(book)
    decision = book.fenced("n1", [fence(lease, by=10**6)])
    assert [note.kind for note in decision.notes] == [EventKind.FENCE_REFUSED]
    assert allocations(book) == {"g0": "releasing"}
    refused(Fault.FENCED, book.renew, lease.lease_id, ALICE.caller, claim(lease), 101.0)
    assert reserve(book, G1)[0].token == lease.token + 10**6 + 1


def test_a_token_that_no_clock_can_have_made_does_not_use_up_those_of_the_fleet() -> None:
    book = ledger()
    book.hello("n1", ["g0"], [pb.DeviceFence(device="g0", token=TOKEN_LIMIT - 1)], 100.0, WALL)
    assert reserve(book)[0].token == int(WALL * 1000)
    book.hello("n1", ["g0"], [pb.DeviceFence(device="g0", token=BELIEVED - 1)], 100.0, WALL)
    assert BELIEVED <= reserve(book, G1)[0].token < TOKEN_LIMIT


def test_a_hello_is_answered_with_the_fences_that_the_node_lacks() -> None:
    book = ledger()
    lease, _ = reserve(book, G0, G1)
    assert [order.fence for order in book.hello("n1", ["g0", "gx"], [], 100.0, WALL).orders] == [
        pb.DeviceFence(device="g0", token=lease.token, held=True, lease_id=lease.lease_id, holder="tokens-a/alice")
    ]
    assert book.hello("n1", ["g0"], [fence(lease)], 100.0, WALL).orders == ()
    book.hello("n2", ["g1"], [fence(lease, "g1")], 100.0, WALL)
    assert book.lease(lease.lease_id).is_fenced
    book.release(lease.lease_id, ALICE.caller, claim(lease), 110.0)
    (order,) = book.hello("n1", ["g0"], [fence(lease)], 111.0, WALL).orders
    assert (order.fence.token, order.fence.held) == (lease.token, False)


def test_a_node_that_missed_the_end_of_a_lease_is_told_so() -> None:
    book = ledger()
    lease, _ = reserve(book)
    book.release(lease.lease_id, ALICE.caller, claim(lease), 110.0)
    book.seen(["g0"], [], 111.0)
    decision = book.hello("n1", ["g0"], [fence(lease)], 112.0, WALL)
    assert [(order.fence.token, order.fence.held) for order in decision.orders] == [(lease.token, False)]
    assert allocations(book) == {}


def test_the_devices_of_a_lease_that_was_lost_with_its_file_are_not_free_before_they_were_seen_clean() -> None:
    before = ledger()
    lease, _ = reserve(before, G0, G1)
    book = ledger()
    for node, uuid in (("n1", "g0"), ("n2", "g1")):
        decision = book.hello(node, [uuid], [fence(lease, uuid)], 10.0, WALL)
        assert decision.allocations == ((uuid, Allocation.RELEASING),)
        assert [order.fence.held for order in decision.orders] == [False]
    assert allocations(book) == {"g0": "releasing", "g1": "releasing"}
    assert len(book.leases()) == 1
    book.seen(["g0", "g1"], [], 11.0)
    assert reserve(book, G0, wall=WALL - 1e6)[0].token > lease.token
