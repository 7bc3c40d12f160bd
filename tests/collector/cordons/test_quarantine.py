"""How many fast failures of leases take a node out."""

from fallow_collector.cordons.quarantine import WITHIN_S, Failure, verdict, with_failure


def after(*failures: tuple[str, float]) -> tuple[Failure, ...]:
    kept: tuple[Failure, ...] = ()
    for lease_id, at in failures:
        kept = with_failure(kept, Failure(lease_id, at))
    return kept


def test_the_third_failure_within_a_quarter_of_an_hour_is_too_many_and_all_are_named() -> None:
    assert verdict(after(("a", 0.0), ("b", 300.0))) == ""
    found = verdict(after(("a", 0.0), ("b", 300.0), ("c", 899.0)))
    assert found.startswith("3 leases failed soon after they had begun, within 899 s: a, b, c; ")


def test_failures_that_lie_further_apart_are_chance() -> None:
    assert verdict(after(("a", 0.0), ("b", 300.0), ("c", WITHIN_S))) == ""


def test_a_lease_counts_once_however_often_it_is_said() -> None:
    assert verdict(after(("a", 0.0), ("a", 1.0), ("a", 2.0), ("b", 3.0))) == ""
