import asyncio
import logging
from collections.abc import Iterator

import pytest

from fallow_client import AsyncClient, Client, FallowError, LeaseLost, NoCapacity, Refused, Request, Unreachable
from fallow_client.leasing import Term, clock, ends, term
from fallow_proto import api
from fallow_proto.dispatch import Fault, Lease
from tests.client.dispatching import Dispatching
from tests.collector.api.served import serving
from tests.e2e.programs import until

FIRST = "GPU-00c0ffee-1111-2222-3333-444444444440"


@pytest.fixture
def parts() -> Dispatching:
    return Dispatching()


@pytest.fixture
def address(parts: Dispatching) -> Iterator[str]:
    with serving(parts.app) as url:
        yield url


def lease(expires_in_s: float | None, state: str = "leased") -> Lease:
    return Lease(
        lease_id="L1", holder="me", fencing_token=7, state=state, ttl_s=30.0, expires_in_s=expires_in_s, since="",
        fenced=True, devices=[],
    )


def refused(code: str, status: int = 409) -> Refused:
    return Refused(api.Problem(title="", status=status, detail="", code=code))


def test_a_lease_is_believed_from_when_it_was_asked_for_and_not_from_when_the_answer_came() -> None:
    assert term(lease(30.0), asked_at=100.0) == Term(30.0, renew_at=110.0, over_at=130.0)


def test_a_lease_that_was_answered_late_is_believed_for_what_was_left_of_it() -> None:
    assert term(lease(6.0), asked_at=100.0) == Term(30.0, renew_at=102.0, over_at=106.0)


def test_a_lease_that_is_being_released_is_not_believed() -> None:
    with pytest.raises(LeaseLost, match="is releasing"):
        term(lease(None, "releasing"), 100.0)


def test_a_renewal_without_an_answer_is_tried_again_soon_but_never_after_the_term() -> None:
    believed = Term(30.0, renew_at=110.0, over_at=130.0)
    assert believed.retried(111.0) == Term(30.0, 113.0, 130.0)
    assert believed.retried(129.5) == Term(30.0, 130.0, 130.0)


@pytest.mark.parametrize(("error", "over"), [
    (refused(Fault.LEASE_ENDED, 410), True), (refused(Fault.LEASE_NOT_FOUND, 404), True),
    (refused(Fault.NOT_HOLDER, 403), True), (refused(Fault.TOKEN_STALE), True), (refused(Fault.TOKEN_FOREIGN), True),
    (refused(Fault.FENCED), True), (LeaseLost("releasing"), True),
    (refused("", 503), False), (refused("", 401), False), (refused("of_a_newer_version"), False),
    (Unreachable("cut"), False),
])
def test_only_what_no_renewal_can_mend_ends_a_lease_before_its_term(error: FallowError, over: bool) -> None:
    assert ends(error) is over


def test_a_block_holds_devices_and_gives_them_back(address: str, parts: Dispatching) -> None:
    with Client(address) as fallow, fallow.lease(Request(count=2), holder="trainer", ttl_s=60.0) as held:
        held.check()
        assert [one.uuid[:5] for one in held.devices] == ["GPU-0", "GPU-1"]
        assert (held.id, held.lease.holder, held.fencing_token) == ("L1", "trainer", parts.leases.token)
        assert fallow.get_lease("L1").state == "leased"
    assert parts.leases.outcomes == ["ok"]


def test_named_devices_are_leased(address: str) -> None:
    with Client(address) as fallow, fallow.lease(devices=[FIRST]) as held:
        assert [one.uuid for one in held.devices] == [FIRST]


@pytest.mark.parametrize(("error", "outcome"), [(ValueError, "failed"), (KeyboardInterrupt, ""), (SystemExit, "")])
def test_only_a_failure_of_the_work_speaks_against_the_node(
    address: str, parts: Dispatching, error: type[BaseException], outcome: str
) -> None:
    with Client(address) as fallow, pytest.raises(error), fallow.lease(Request()):
        raise error
    assert parts.leases.outcomes == [outcome]


def test_a_lease_outlives_its_ttl_while_it_is_kept(address: str, parts: Dispatching) -> None:
    with Client(address) as fallow, fallow.lease(Request(), ttl_s=0.6) as held:
        until(lambda: parts.leases.renewals >= 5, "it was renewed five times")
        held.check()
        assert not held.lost.is_set()


def test_no_capacity_is_an_answer_of_its_own(address: str) -> None:
    with Client(address) as fallow, pytest.raises(NoCapacity, match="6 of 9 devices are idle") as refusal:
        fallow.reserve(Request(count=9))
    assert (refusal.value.code, refusal.value.status) == (Fault.NO_CAPACITY, 409)


def test_other_refusals_carry_their_code(address: str) -> None:
    with Client(address) as fallow:
        lease = fallow.reserve(Request(), holder="me", hold=True)
        with pytest.raises(Refused) as refusal:
            fallow.commit(lease.lease_id, lease.fencing_token + 1, holder="me")
        assert refusal.value.code == Fault.TOKEN_FOREIGN
        assert fallow.commit(lease.lease_id, lease.fencing_token, holder="me").state == "leased"
        assert fallow.renew(lease.lease_id, lease.fencing_token, holder="me", ttl_s=7.0).ttl_s == 7.0
        assert fallow.release(lease.lease_id, lease.fencing_token, holder="me").state == "releasing"
        assert [one.lease_id for one in fallow.leases("me").items] == ["L1"]


def test_a_reply_that_is_lost_on_the_wire_leaks_no_lease(address: str, parts: Dispatching) -> None:
    parts.losses += ["answer", "all", "answer"]
    with Client(address) as fallow:
        assert fallow.reserve(Request(count=2)).lease_id == "L1"
    assert list(parts.leases.held) == ["L1"]
    assert parts.losses == []


def test_renewals_that_get_lost_are_tried_again_within_the_term(address: str, parts: Dispatching) -> None:
    with Client(address) as fallow, fallow.lease(Request(), ttl_s=3.0) as held:
        parts.losses += ["all", "answer", "all"]
        until(lambda: not parts.losses and parts.leases.renewals >= 3, "it was renewed after three losses")
        held.check()


@pytest.mark.parametrize("loss", ["all", "hang"])
def test_a_lease_that_cannot_be_renewed_is_lost_when_its_term_is_over_and_not_later(
    address: str, parts: Dispatching, loss: str
) -> None:
    def work(fallow: Client) -> None:
        with fallow.lease(Request(), ttl_s=1.0) as held:
            parts.losses += [loss] * 100
            assert held.lost.wait(30.0)
            parts.losses.clear()
            with pytest.raises(LeaseLost):
                held.check()

    before = clock()
    with Client(address) as fallow, pytest.raises(LeaseLost, match="stop what runs on them"):
        work(fallow)
    assert clock() >= before + 1.0
    assert parts.leases.outcomes == []  # it was not ours to release


def test_a_lease_that_the_collector_has_ended_is_lost_at_the_next_renewal(address: str, parts: Dispatching) -> None:
    def work(fallow: Client) -> None:
        with fallow.lease(Request(), ttl_s=1.5) as held:
            parts.leases.end("L1")
            assert held.lost.wait(30.0)

    with Client(address) as fallow, pytest.raises(LeaseLost, match="lease L1 has ended"):
        work(fallow)


def test_a_lease_that_ended_unnoticed_is_lost_at_the_end_of_the_block(address: str, parts: Dispatching) -> None:
    with Client(address) as fallow, pytest.raises(LeaseLost, match="lease L1 has ended"), fallow.lease(Request()):
        parts.leases.end("L1")


def test_a_release_whose_answer_was_lost_is_no_failure(address: str, parts: Dispatching) -> None:
    with Client(address) as fallow, fallow.lease(Request()):
        parts.losses.append("answer")
    assert parts.leases.outcomes == ["ok"]


def test_a_lease_that_cannot_be_released_is_left_to_run_out(
    address: str, parts: Dispatching, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), Client(address) as fallow, fallow.lease(Request()):
        parts.losses += ["all"] * 4
    assert "will run out by itself" in caplog.text


def test_the_same_can_be_awaited(address: str, parts: Dispatching) -> None:
    async def work() -> None:
        async with AsyncClient(address) as fallow:
            parts.losses.append("answer")
            async with fallow.lease(Request(count=2), holder="trainer", ttl_s=0.6) as held:
                await asyncio.to_thread(until, lambda: parts.leases.renewals >= 3, "three renewals")
                held.check()
            assert parts.leases.outcomes == ["ok"]
            with pytest.raises(ValueError, match="work"):
                async with fallow.lease(Request()):
                    raise ValueError("work")
            assert parts.leases.outcomes == ["ok", "failed"]
            with pytest.raises(NoCapacity):
                await fallow.reserve(Request(count=9))
            with pytest.raises(LeaseLost):
                await lose(fallow)

    async def lose(fallow: AsyncClient) -> None:
        async with fallow.lease(Request(), ttl_s=0.6) as held:
            parts.leases.end(held.id)
            await held.lost.wait()

    asyncio.run(asyncio.wait_for(work(), 60.0))


def test_work_that_is_cancelled_gives_its_devices_back(address: str, parts: Dispatching) -> None:
    async def work(began: asyncio.Event) -> None:
        async with AsyncClient(address) as fallow, fallow.lease(Request()):
            began.set()
            await asyncio.Event().wait()

    async def cancel() -> None:
        began = asyncio.Event()
        working = asyncio.create_task(work(began))
        await began.wait()
        working.cancel()
        await asyncio.wait({working})

    asyncio.run(cancel())
    assert parts.leases.outcomes == [""]
