"""What is on devices, and when something foreign there is called so: with the real fleet, ledgers and judgement."""

import pytest

from fallow_collector.ledgers.imports import Imports
from fallow_collector.processes.board import Processes
from fallow_proto.dispatch import Job, LedgerImport, Owned
from fallow_proto.states import EventKind
from fallow_proto.v1 import telemetry_pb2 as pb
from tests.collector.watching import BUSY, Watched, device

GRACE_S = 15.0
ALICE = pb.Process(pid=1, started_ms=5, command="python", user="alice", uid=1000, cgroup="/")
MALLORY = pb.Process(pid=2, started_ms=6, command="miner", user="mallory", uid=1666, cgroup="/user.slice/x.scope")


class Site:
    """One node of two devices, of which a job of Slurm has the first."""

    def __init__(self) -> None:
        self.node = Watched(device("a0", minor=0), device("a1", minor=1), node="a")
        self.fleet = self.node.fleet
        self.imports = Imports(self.fleet, 10.0, self.node.engine.restart)
        self.notes: list[tuple[EventKind, str, str, str]] = []
        self.processes = Processes(self.fleet, self.imports, lambda row: GRACE_S, lambda *note: self.notes.append(note))
        self.has_job()
        self.node.says(BUSY, BUSY)

    def has_job(self, job: str = "17", uid: int | None = 1000) -> None:
        self.imports.take("slurm", LedgerImport(
            age_s=0.0, nodes=[Owned(node="a")],
            jobs=[Job(node="a", holder=f"job {job} of alice", minor=0, job=job, uid=uid)],
        ), self.node.now, 1e9)

    def lists(self, *processes: pb.Process, device: str = "a0", **changed: str) -> None:
        self.processes.take("a", pb.Processes(device=device, processes=processes, **changed))  # type: ignore[arg-type]

    def passes(self, seconds: float, read: bool = True, **job: str) -> None:
        """Second by second; read: the scheduler is imported each time."""
        for _ in range(round(seconds)):
            self.node.stays(1.0, BUSY, BUSY)
            if read:
                self.has_job(**job)
            self.look()

    def look(self) -> None:
        self.imports.bring_up_to_date(self.node.now, 1e9 + self.node.now)
        self.processes.bring_up_to_date(self.node.now, 1e9 + self.node.now)

    @property
    def marked(self) -> bool:
        assert not self.fleet.foreign[1]
        assert self.node.phase() == "leased", "a mark changes no phase"
        return "foreign_process" in self.node.reasons()

    def verdicts(self) -> tuple[bool | None, ...]:
        found = self.processes.on_device(0)
        assert found is not None
        return found.foreign


def test_a_foreign_process_is_called_so_after_a_while_once_and_changes_no_phase() -> None:
    site = Site()
    site.look()
    site.lists(ALICE, MALLORY)
    site.look()
    assert (site.marked, site.verdicts()) == (False, (False, None))
    site.passes(GRACE_S - 1)
    assert not site.marked
    site.passes(10)
    assert (site.marked, site.verdicts()) == (True, (False, True))
    (note,) = site.notes
    assert note == (
        EventKind.FOREIGN_PROCESS, "a", "a0",
        "pid 2 (miner) of mallory, in /user.slice/x.scope, is neither of the user nor in the control group of "
        "job 17 of alice, which has the device",
    )
    site.lists(ALICE)
    site.look()
    assert (site.marked, site.verdicts()) == (False, (False,))


def test_a_job_that_began_since_clears_its_own_process_before_it_is_called_foreign() -> None:
    site = Site()
    site.lists(MALLORY)
    site.passes(5)
    site.imports.take("slurm", LedgerImport(
        age_s=0.0, nodes=[Owned(node="a")], jobs=[Job(node="a", holder="job 18", minor=0, job="18", uid=1666)],
    ), site.node.now, 1e9)
    site.passes(GRACE_S, read=False)
    assert site.verdicts() == (False,)
    assert site.notes == []


def test_a_process_that_outlives_its_job_is_foreign_to_the_next_one_from_that_ones_beginning() -> None:
    site = Site()
    site.lists(MALLORY)
    site.passes(GRACE_S - 2)
    site.passes(GRACE_S - 2, job="18")
    assert not site.marked
    site.passes(5, job="18")
    assert site.marked


def test_nothing_is_called_foreign_by_a_ledger_that_was_not_read_again() -> None:
    site = Site()
    site.lists(MALLORY)
    site.look()
    site.node.stays(GRACE_S + 1, BUSY, BUSY)
    site.look()
    assert not site.fleet.foreign.any()
    site.has_job()
    site.look()
    assert site.marked


def test_while_its_ledger_is_stale_nobody_is_foreign_on_a_device() -> None:
    site = Site()
    site.lists(MALLORY)
    site.passes(GRACE_S + 2)
    assert site.marked
    site.passes(11, read=False)
    assert not site.fleet.foreign.any()
    site.passes(1)
    assert site.marked
    assert len(site.notes) == 1


def test_another_process_under_the_same_pid_is_another_suspect() -> None:
    site = Site()
    site.lists(MALLORY)
    site.passes(GRACE_S - 2)
    later = pb.Process()
    later.CopyFrom(MALLORY)
    later.started_ms += 1
    site.lists(later)
    site.passes(GRACE_S - 2)
    assert not site.marked


@pytest.mark.parametrize("silence", ["gone", "not read"])
def test_of_a_node_that_is_not_heard_and_of_a_list_that_is_not_read_nothing_is_claimed(silence: str) -> None:
    site = Site()
    site.lists(MALLORY)
    site.passes(GRACE_S + 2)
    if silence == "gone":
        site.processes.gone("a")
    else:
        site.lists(problem="reader nvidia is stuck")
    site.look()
    assert not site.marked
    found = site.processes.on_device(0)
    assert found is None if silence == "gone" else found is not None and found.told.problem


def test_a_silent_device_bears_no_mark() -> None:
    site = Site()
    site.lists(MALLORY)
    site.passes(GRACE_S + 2)
    site.node.misses(20.0)
    assert "foreign_process" not in site.node.reasons()


def test_a_node_speaks_of_its_own_devices_only() -> None:
    site = Site()
    site.processes.take("b", pb.Processes(device="a0", processes=[MALLORY]))
    site.processes.take("a", pb.Processes(device="zz", processes=[MALLORY]))
    site.look()
    assert site.processes.on_device(0) is None


def test_on_a_device_that_nobody_has_no_process_is_foreign() -> None:
    site = Site()
    site.lists(MALLORY, device="a1")
    site.passes(GRACE_S + 2)
    assert not site.fleet.foreign.any()
    assert site.notes == []


def test_a_scheduler_that_tells_no_users_accuses_nobody() -> None:
    site = Site()
    site.lists(MALLORY)
    for _ in range(20):
        site.node.stays(1.0, BUSY, BUSY)
        site.has_job(uid=None)
        site.look()
    assert site.verdicts() == (None,)
    assert not site.marked
