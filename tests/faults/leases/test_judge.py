"""What contradicts the promises of leases is found in what clients wrote down."""

from fallow_proto.dispatch import Fault
from tests.faults.leases.history import UNKNOWN, Ask, Op, Sight
from tests.faults.leases.judge import Away, faults_of, latest_s


def given(who: str, token: int, at: float, key: str = "") -> Op:
    return Op(who, Ask.RESERVE, at, at + 0.5, token=token, devices=["g0"], key=key or f"{who} {at}", ttl_s=4.0)


def told(who: str, ask: Ask, token: int, at: float, code: str = "") -> Op:
    return Op(who, ask, at, at + 0.5, code, token=token, ttl_s=4.0)


def shown(at: float, *seen: Sight) -> Op:
    return Op("c", Ask.READ, at, at + 0.5, seen=list(seen))


def faults(*ops: Op) -> list[str]:
    return faults_of(ops, ["g0"])


LEASED = Sight(1, "leased", "a", ["g0"])


def test_leases_one_after_the_other_are_fine() -> None:
    assert faults(given("a", 1, 0), told("a", Ask.RELEASE, 1, 1), shown(2), given("b", 2, 3), given("c", 3, 8)) == []


def test_a_lease_given_before_the_other_ran_out_is_found_twice_over() -> None:
    twice, unordered = faults(given("a", 1, 0), given("b", 2, 3))
    assert "owned twice" in twice
    assert "not linearizable" in unordered


def test_a_renewed_lease_ends_a_ttl_after_it_was_asked_for() -> None:
    assert faults(given("a", 1, 0), told("a", Ask.RENEW, 1, 3), given("b", 2, 8)) == []
    assert faults(given("a", 1, 0), told("a", Ask.RENEW, 1, 3), given("b", 2, 6)) != []


def test_who_was_told_that_it_ended_never_has_it_again() -> None:
    ended = told("a", Ask.RENEW, 1, 5, Fault.LEASE_ENDED)
    assert faults(given("a", 1, 0), ended) == []
    assert faults(given("a", 1, 0), ended, shown(6, LEASED)) != []
    assert faults(given("a", 1, 0), ended._replace(invoked=2, ended=2.5)) != []


def test_a_call_without_an_answer_may_have_been_done_or_not() -> None:
    lost = Op("a", Ask.RESERVE, 0, 1, UNKNOWN, key="k", ttl_s=4.0)
    assert faults(lost, given("b", 2, 2)) == []
    assert faults(lost, shown(2, LEASED), given("b", 2, 6)) == []
    assert faults(lost, shown(2, LEASED), given("b", 2, 2.6)) != []


def test_one_key_with_two_leases_and_refusals_that_cannot_be_are_found() -> None:
    assert any("one key" in each for each in faults(given("a", 1, 0, "k"), given("a", 2, 9, "k")))
    assert any("token_stale" in each for each in faults(
        given("a", 1, 0), told("a", Ask.RENEW, 1, 1, Fault.TOKEN_STALE)
    ))


def test_how_late_a_lease_was_still_shown_is_measured_without_the_time_that_the_collector_was_down() -> None:
    ops = [given("a", 1, 0), shown(6, LEASED)]
    assert latest_s(ops, []) == 1.5
    assert latest_s(ops, [Away(3.0, 4.0, 0.25)]) == 0.25
