"""What is explained of owners and of service."""

from fallow_collector.idle.reasons import BIT
from fallow_collector.idle.standing import Foreign, Standing, owner, service, strangers
from fallow_proto.dispatch import Cordon
from fallow_proto.states import Allocation


def cordon(**changed: object) -> Cordon:
    facts: dict[str, object] = {
        "cordon_id": "c1", "kind": "cordoned", "owner": "ops", "reason": "fan broken", "device": "g0", "node": "n1",
        "since": "2026-01-01T00:00:00.000Z", "starts": None, "expires_in_s": None, "ends": None, "active": True,
    }
    return Cordon(**(facts | changed))  # type: ignore[arg-type]


def bits(*names: str) -> int:
    return sum(int(BIT[name]) for name in names)


def test_a_device_that_nobody_holds_is_free() -> None:
    rule = owner(Standing(), 0)
    assert rule == ("owner", True, "free, in ledger fallow", "free", None, "")


def test_a_lease_names_its_holder_since_when_and_what_comes_next() -> None:
    rule = owner(Standing(Allocation.LEASED, "fallow", "ci/train (lease l1)", 5000), bits("leased"))
    assert (rule.holds, rule.value, rule.since_ms) == (False, "leased by ci/train (lease l1), in ledger fallow", 5000)
    assert rule.next == "the lease is released, or expires"


def test_whether_a_device_is_free_cannot_be_told_when_its_scheduler_is_silent() -> None:
    rule = owner(Standing(Allocation.UNKNOWN, "slurm"), bits("ledger_stale"))
    assert (rule.holds, rule.value) == (None, "unknown, in ledger slurm")
    assert rule.next == "the scheduler's allocations are imported again"


def test_foreign_processes_are_told_while_the_mark_stands_and_without_it_nothing_is_asked() -> None:
    standing = Standing(Allocation.LEASED, "slurm", "job 17", foreign=[
        Foreign("pid 2 (miner) of mallory, in /a", 7000), Foreign("pid 3 (sh) of eve, in /b", 6000),
    ])
    (rule,) = strangers(standing, bits("leased", "foreign_process"))
    assert (rule.holds, rule.since_ms) == (False, 6000)
    assert rule.value == "pid 2 (miner) of mallory, in /a; pid 3 (sh) of eve, in /b"
    assert strangers(standing, bits("leased")) == ()
    assert strangers(Standing(), bits("foreign_process")) == ()


def test_each_cordon_is_told_with_owner_reason_and_end() -> None:
    rule = service(Standing(cordons=[
        cordon(), cordon(owner="net", kind="draining", reason="", expires_in_s=90.0),
        cordon(owner="site", kind="maintenance", reason="cooling", starts="S", ends="E", expires_in_s=5.0),
    ]), bits("maintenance", "draining", "cordoned"))
    assert not rule.holds
    assert rule.value == (
        "cordoned by ops until it is lifted: fan broken; draining by net for 90 s more; "
        "maintenance by site until E: cooling"
    )
    assert rule.next == "the window ends; `fallow uncordon`; `fallow uncordon`, or the cordon expires"


def test_a_window_to_come_is_told_and_the_rule_holds() -> None:
    coming = cordon(kind="maintenance", starts="S", ends="E", active=False)
    rule = service(Standing(cordons=[coming]), 0)
    assert (rule.holds, rule.value) == (True, "in service; maintenance by ops from S until E: fan broken")


def test_a_host_is_out_of_service_while_somebody_holds_its_accelerator() -> None:
    rule = service(Standing(), bits("accelerator_leased"))
    assert (rule.holds, rule.value, rule.next) == (False, "an accelerator of this host is held", "the lease ends")
