import numpy as np
import pytest
from numpy.typing import NDArray

from fallow_collector.ledgers.imports import Imports
from fallow_proto.dispatch import Job, LedgerImport, Owned
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.watching import BUSY, IDLE, Watched, device

FRESH_S = 10.0


class Site:
    """Two nodes of two devices, the second also with a host, and their ledgers."""

    def __init__(self) -> None:
        self.first = Watched(device("a0", minor=0), device("a1", minor=1), node="a")
        fleet, engine = self.first.fleet, self.first.engine
        host = device("cpu", device_class="general")
        self.second = Watched(device("b0", minor=0), device("b1", minor=1), host, node="b", fleet=fleet, engine=engine)
        self.fleet, self.engine = fleet, engine
        self.restarted: list[tuple[list[int], bool]] = []
        self.imports = Imports(fleet, FRESH_S, self._restart)
        self.now = self.first.now

    def _restart(self, rows: NDArray[np.integer], short: bool) -> None:
        self.restarted.append((rows.tolist(), short))
        self.engine.restart(rows, short)

    def says(self, *held: tuple[str, int], nodes: tuple[str, ...] = ("a", "b"), age_s: float = 0.0,
             name: str = "slurm", minors: list[int] | None = None) -> bool:
        taken = LedgerImport(
            age_s=age_s, nodes=[Owned(node=node, minors=minors) for node in nodes],
            jobs=[Job(node=node, holder="job 1 of alice", minor=minor) for node, minor in held],
        )
        return self.imports.take(name, taken, self.now, 1e9 + self.now)

    def now_is(self) -> dict[str, tuple[str, str]]:
        """(ledger, allocation) of each device."""
        self.imports.bring_up_to_date(self.now, 1e9 + self.now)
        words = ("free", "reserved", "leased", "releasing", "unknown")
        return {
            identity.uuid: (self.fleet.ledgers[self.fleet.ledger[row]], words[self.fleet.owned()[row]])
            for row, identity in enumerate(self.fleet.identities)
        }


FALLOW = ("fallow", "free")
FREE, LEASED, UNKNOWN = ("slurm", "free"), ("slurm", "leased"), ("slurm", "unknown")


def test_a_job_s_devices_are_leased_the_node_s_others_the_scheduler_s_and_free_and_the_host_is_nobody_s() -> None:
    site = Site()
    site.says(("a", 1))
    assert site.now_is() == {"a0": FREE, "a1": LEASED, "b0": FREE, "b1": FREE, "cpu": FALLOW}


def test_an_allocation_bears_the_time_at_which_it_came_and_keeps_it() -> None:
    site = Site()
    site.says(("a", 1))
    site.now_is()
    began = site.now
    site.now += 5
    site.says(("a", 1))
    site.now_is()
    assert site.fleet.allocated_at[1] == began


def test_a_ledger_that_falls_silent_says_nothing_after_its_limit_counted_from_when_it_was_read() -> None:
    site = Site()
    site.says(("a", 1), age_s=4.0)
    site.now += 6.0
    assert site.now_is()["a0"] == FREE
    site.now += 0.1
    assert site.now_is() == {"a0": UNKNOWN, "a1": UNKNOWN, "b0": UNKNOWN, "b1": UNKNOWN, "cpu": FALLOW}
    assert site.imports.state("slurm", site.now).stale
    site.says(("a", 1))
    assert site.now_is()["a0"] == FREE
    assert site.now_is()["a1"] == LEASED


def test_saying_the_same_again_keeps_it_fresh() -> None:
    site = Site()
    for _ in range(5):
        site.says(("a", 1))
        site.now += 8
        assert site.now_is()["a1"] == LEASED


def test_an_import_that_was_read_before_the_last_one_changes_nothing() -> None:
    site = Site()
    assert site.says(("a", 1))
    assert not site.says(age_s=1.0)
    assert site.now_is()["a1"] == LEASED


def test_a_device_of_a_stale_ledger_is_not_idle_and_says_why() -> None:
    site = Site()
    site.says()
    site.first.stays(61, IDLE, IDLE)
    site.now = site.first.now
    site.now_is()
    assert site.first.phase() == "unknown"
    assert site.first.reasons() == ["ledger_stale"]
    site.says()
    site.now_is()
    assert site.first.phase() == "idle"


def test_a_job_s_end_starts_the_short_window_and_nothing_is_idle_at_once() -> None:
    site = Site()
    site.says(("a", 0), ("a", 1))
    site.now_is()
    site.first.stays(30, BUSY, IDLE)
    site.first.stays(61, IDLE, IDLE)
    site.now = site.first.now
    site.says()
    site.now_is()
    assert site.restarted == [([0, 1], True)]
    assert site.first.phase(1) == "verifying"
    site.first.stays(11, IDLE, IDLE)
    site.now = site.first.now
    site.says()
    site.now_is()
    assert site.first.phase(1) == "idle"


def test_a_job_that_ends_while_its_node_cannot_be_read_starts_the_window_too() -> None:
    site = Site()
    site.says(("a", 1))
    site.now_is()
    site.first.stays(70, IDLE, IDLE)
    site.now = site.first.now
    unread = LedgerImport(age_s=0.0, nodes=[Owned(node="a", problem="scontrol: timed out")], jobs=[])
    site.imports.take("slurm", unread, site.now, 1e9 + site.now)
    assert site.now_is()["a1"] == UNKNOWN
    site.says()
    assert site.now_is()["a1"] == FREE
    assert site.restarted == [([1], True)]
    assert site.first.phase(1) == "verifying"


def test_the_job_that_has_a_device_is_named_while_its_ledger_is_fresh() -> None:
    site = Site()
    site.says(("a", 1))
    site.now_is()
    assert (site.imports.holder(1), site.imports.holder(0)) == ("job 1 of alice", "")
    site.now += FRESH_S + 1
    site.now_is()
    assert site.imports.holder(1) == ""


def test_work_of_a_job_is_leased_and_not_unmanaged_and_work_that_no_job_explains_is() -> None:
    site = Site()
    site.says(("a", 0))
    site.first.stays(30, BUSY, BUSY)
    site.now = site.first.now
    site.says(("a", 0))
    site.now_is()
    assert (site.first.phase(0), site.first.phase(1)) == ("leased", "unmanaged")


def test_nodes_that_an_import_leaves_out_are_given_back() -> None:
    site = Site()
    site.says(("a", 1))
    site.now_is()
    site.says(nodes=("b",))
    assert site.now_is() == {"a0": FALLOW, "a1": FALLOW, "b0": FREE, "b1": FREE, "cpu": FALLOW}
    assert site.imports.give_back("slurm")
    assert set(site.now_is().values()) == {FALLOW}
    assert not site.imports.give_back("slurm")


def test_a_job_on_a_device_that_is_not_there_makes_its_node_s_others_unknown_and_is_listed() -> None:
    site = Site()
    site.says(("a", 1), ("a", 5))
    assert site.now_is()["a0"] == UNKNOWN
    assert site.now_is()["a1"] == LEASED
    assert site.now_is()["b0"] == FREE
    assert site.imports.state("slurm", site.now).unmatched == ["a job 1 of alice minor 5"]


def test_a_device_that_appears_later_is_matched_when_its_node_says_hello() -> None:
    site = Site()
    site.says(("a", 1), ("a", 2))
    site.now_is()
    site.first.devices = (*site.first.devices, device("a2", minor=2))
    site.first.hello()
    assert site.now_is()["a0"] == FREE
    assert site.now_is()["a2"] == LEASED


def test_a_node_that_the_fleet_does_not_know_is_listed_for_its_devices_may_be_there_under_another_name() -> None:
    site = Site()
    site.says(nodes=("a", "b.example"))
    site.now_is()
    assert site.imports.state("slurm", site.now).unmatched == [
        "b.example * no agent of a node of this name has reported"
    ]


def test_of_two_ledgers_that_claim_a_device_the_older_claim_counts_and_the_other_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()
    site.says(("a", 1), nodes=("a",))
    site.now += 1
    site.says(("a", 0), nodes=("a",), name="abacus")
    assert site.now_is()["a0"] == UNKNOWN
    assert site.now_is()["a1"] == LEASED
    assert site.imports.state("slurm", site.now).unmatched == []
    told = site.imports.state("abacus", site.now)
    assert told.unmatched == [f"a {uuid} is of ledger slurm, whose claim is older" for uuid in ("a0", "a1")]
    assert (told.devices, told.allocated) == (0, 0)
    assert "two ledgers claim a device" in caplog.text
    site.says(nodes=("a",), name="abacus")
    assert site.now_is()["a0"] == FREE
    site.says(("a", 0), nodes=("a",), name="abacus")
    site.imports.give_back("slurm")
    assert site.now_is()["a0"] == ("abacus", "leased")


def test_after_a_restart_owned_devices_are_unknown_until_their_scheduler_speaks_and_the_older_claim_still_counts(
) -> None:
    before = Site()
    before.says(("a", 1), minors=[0, 1])
    before.now += 1
    before.says(nodes=("a",), name="abacus")
    kept = [row for name in sorted(before.imports.unkept) for row in before.imports.owned(name)]

    site = Site()
    site.imports.restore(kept)
    assert site.now_is() == {"a0": UNKNOWN, "a1": UNKNOWN, "b0": UNKNOWN, "b1": UNKNOWN, "cpu": FALLOW}
    state = site.imports.state("slurm", site.now)
    assert (state.age_s, state.stale, state.devices, state.unmatched) == (None, True, 4, [])
    site.says(("a", 1), minors=[0, 1])
    assert site.now_is() == {"a0": UNKNOWN, "a1": LEASED, "b0": FREE, "b1": FREE, "cpu": FALLOW}
    site.says(nodes=("a",), name="abacus")
    assert site.now_is()["a0"] == FREE


def test_ownership_is_kept_again_only_when_it_changes() -> None:
    site = Site()
    site.says(("a", 1))
    assert site.imports.unkept == {"slurm"}
    site.imports.unkept.clear()
    site.says(("a", 0), ("b", 1))
    assert site.imports.unkept == set()
    site.says(nodes=("a",))
    assert site.imports.unkept == {"slurm"}


def test_a_lease_of_our_own_counts_before_what_a_scheduler_says() -> None:
    site = Site()
    site.fleet.allocation[0] = 1
    site.fleet.allocated_at[0] = 7.0
    site.says(("a", 0))
    assert site.now_is()["a0"] == ("slurm", "reserved")
    assert site.fleet.allocated_at[0] == 7.0


def kubelet(*held: str, **more: object) -> pb.Ledger:
    return pb.Ledger(
        name="kubernetes", allocations=[pb.Allocation(device=uuid, holder="ns/pod") for uuid in held],
        **{"owned": ["a0", "a1"], **more},  # type: ignore[arg-type]
    )


def test_what_a_node_s_own_daemon_says_concerns_that_node_and_grows_stale_by_itself() -> None:
    site = Site()
    site.imports.take_node("a", kubelet("a1"), site.now, 0.0)
    site.imports.take_node("b", kubelet(owned=["b0"]), site.now, 0.0)
    assert site.now_is() == {
        "a0": ("kubernetes", "free"), "a1": ("kubernetes", "leased"), "b0": ("kubernetes", "free"), "b1": FALLOW,
        "cpu": FALLOW,
    }
    site.now += 8
    site.imports.take_node("a", kubelet("a1"), site.now, 0.0)
    site.now += 8
    assert site.now_is()["a1"] == ("kubernetes", "leased")
    assert site.now_is()["b0"] == ("kubernetes", "unknown")


def test_a_daemon_that_cannot_be_read_leaves_what_it_owned_unknown() -> None:
    site = Site()
    site.imports.take_node("a", kubelet("a1"), site.now, 0.0)
    site.imports.take_node("a", kubelet(owned=[], problem="no socket"), site.now, 0.0)
    assert site.now_is()["a0"] == ("kubernetes", "unknown")
    assert site.now_is()["a1"] == ("kubernetes", "unknown")
    assert site.imports.state("kubernetes", site.now).unmatched == ["a * no socket"]
    site.imports.take_node("a", kubelet(), site.now, 0.0)
    assert site.now_is()["a1"] == ("kubernetes", "free")


def test_of_a_daemon_that_was_never_read_nobody_knows_what_is_not_its_own() -> None:
    site = Site()
    site.imports.take_node("a", kubelet(owned=[], problem="no socket"), site.now, 0.0)
    unknown = ("kubernetes", "unknown")
    assert site.now_is() == {"a0": unknown, "a1": unknown, "b0": FALLOW, "b1": FALLOW, "cpu": FALLOW}
    site.imports.take_node("a", kubelet(owned=[]), site.now, 0.0)
    site.imports.take_node("a", kubelet(owned=[], problem="no socket"), site.now, 0.0)
    assert site.now_is()["a0"] == FALLOW


def test_a_device_that_comes_back_is_as_fresh_as_the_last_import_though_nothing_in_it_was_new() -> None:
    site = Site()
    site.says(("a", 1))
    site.now_is()
    site.now += 9
    site.says(("a", 1))
    site.now += 9
    site.first.hello()
    assert site.now_is()["a1"] == LEASED
    assert site.imports.state("slurm", site.now).age_s == 9
