"""What the doctor says of folders that its user may not even look at."""

from pathlib import Path

from fallow_agent.doctor import Mark, _kernel_log, _run_dir, _spool
from tests.agent.users import another_user, open_folder


def test_folders_inside_anothers_private_one_are_said_not_to_be_writable() -> None:
    with open_folder() as folder:
        private = folder / "private"
        private.mkdir(mode=0o700)
        with another_user():
            spool, run_dir = _spool(private / "agent", 1), _run_dir(private / "run", "")
    assert (spool.mark, run_dir.mark) == (Mark.FAIL, Mark.FAIL)
    assert "cannot be written by user" in spool.found
    assert "cannot be written by user" in run_dir.found


def test_a_plain_user_learns_where_their_own_agent_would_keep_its_locks(tmp_path: Path) -> None:
    assert _run_dir(tmp_path, "/run/user/1000").mark is Mark.OK


def test_a_kernel_log_that_may_not_be_read_is_a_warning_with_the_way_out(tmp_path: Path) -> None:
    secret = tmp_path / "kmsg"
    secret.touch(mode=0o600)
    with another_user():
        finding = _kernel_log(str(secret))
    assert finding.mark is Mark.WARN
    assert "CAP_SYSLOG" in finding.advice
    assert _kernel_log(str(secret)).mark is Mark.OK
    assert _kernel_log("").mark is Mark.OK
