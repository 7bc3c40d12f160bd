"""A real control group, named as Slurm names a job's, for a real process; on machines that let us make one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MOUNT = Path("/sys/fs/cgroup")


@contextmanager
def job_group(pid: int, job: int) -> Iterator[str]:
    """Moves the process into a job's group; gives its path. The process must have ended, or moved, at the end."""
    root = MOUNT if (MOUNT / "cgroup.controllers").exists() else MOUNT / "pids"
    top = f"slurm_test{os.getpid()}"
    made = [root / top, root / top / "uid_1000", root / top / f"uid_1000/job_{job}"]
    try:
        try:
            for folder in made:
                folder.mkdir()
            (made[-1] / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            pytest.skip(f"no control group can be made below {root}: {error.strerror}")
        yield f"/{made[-1].relative_to(root)}"
    finally:
        for folder in reversed(made):
            if folder.exists():
                folder.rmdir()
