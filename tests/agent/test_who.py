"""Who a process is, by what /proc says: of written files, and of real processes."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from fallow_agent.holders import Occupant
from fallow_agent.who import Who, started_s, who_is
from tests.agent.cgroups import job_group

USERS = {1000: "alice"}
STAT = "7 (odd) name) S 1 7 7 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 1 0 {ticks} 1000 200\n"


CGROUP = "0::/system.slice/x.service\n"


def write_process(proc: Path, uid: int = 1000, ticks: int = 12_345, cgroup: str | None = CGROUP) -> None:
    (proc / "7").mkdir()
    (proc / "7/stat").write_text(STAT.format(ticks=ticks))
    (proc / "7/status").write_text(f"Name:\tpython\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    if cgroup is not None:
        (proc / "7/cgroup").write_text(cgroup)


def test_a_process_is_its_start_its_user_its_command_and_its_control_group(tmp_path: Path) -> None:
    write_process(tmp_path)
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    assert who_is(7, USERS, tmp_path) == Who(
        12_345 / ticks_per_s, 1000, "/system.slice/x.service", Occupant("python", "alice")
    )


def test_a_user_whom_the_machine_does_not_name_is_its_number(tmp_path: Path) -> None:
    write_process(tmp_path, uid=54_321)
    who = who_is(7, USERS, tmp_path)
    assert who is not None
    assert (who.uid, who.occupant.user) == (54_321, "54321")


def test_a_control_group_that_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    write_process(tmp_path, cgroup=None)
    who = who_is(7, USERS, tmp_path)
    assert who is not None
    assert who.cgroup == ""


@pytest.mark.parametrize("missing", ["stat", "status"])
def test_of_a_process_that_is_gone_or_hidden_nothing_is_made_up(tmp_path: Path, missing: str) -> None:
    write_process(tmp_path)
    (tmp_path / "7" / missing).unlink()
    assert who_is(7, USERS, tmp_path) is None
    assert who_is(8, USERS, tmp_path) is None


def test_this_very_process_began_in_the_past_of_the_boot_clock() -> None:
    who = who_is(os.getpid(), {})
    assert who is not None
    assert 0 < who.started_s <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert who.started_s == started_s(os.getpid())
    assert who.uid == os.geteuid()


def test_a_real_process_in_a_real_control_group_of_a_job_names_the_job() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            with job_group(child.pid, 17) as path:
                who = who_is(child.pid, {})
                child.kill()
                child.wait()
        finally:
            child.kill()
    assert who is not None
    assert who.cgroup == path
    assert who.occupant.command == "sleep"
