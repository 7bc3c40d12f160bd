"""Processes in the control groups of job schedulers and virtual machines.

Known groups: Slurm's (`/slurm`, `/slurm_NODE` of cgroup v1; `system.slice/slurmstepd.scope` of v2), Kubernetes'
(`kubepods`, `kubepods.slice`, `kubelet.slice/kubelet-kubepods.slice`), systemd's and libvirt's `machine.slice`. They
stand at most two levels deep. The agent has to see the host's own tree, not that of a container.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

_V1_HIERARCHIES = ("freezer", "systemd", "unified")
"""Slurm tracks jobs in freezer; kubelet and libvirt use all hierarchies of v1, systemd's among them."""
_KEEPERS = "system"
"""Slurm's own daemon in its group: `slurmstepd infinity` keeps a v2 scope alive, slurmd stands here under CoreSpec."""


def count(cgroups: Path) -> int | None:
    """Processes in job groups below a mount point like /sys/fs/cgroup; None when the tree cannot be read."""
    try:
        if (cgroups / "cgroup.controllers").exists():
            return _count_tree(cgroups)
        hierarchies = [cgroups / name for name in _V1_HIERARCHIES if (cgroups / name).is_dir()]
        # Each hierarchy holds every process once.
        return max((_count_tree(hierarchy) for hierarchy in hierarchies), default=None)
    except OSError:
        return None


def is_job_group(name: str) -> bool:
    return (
        name in ("slurm", "machine.slice")
        or name.startswith(("slurm_", "kubepods", "kubelet-kubepods"))
        or name.endswith("slurmstepd.scope")  # never slurmd.service, the daemon of an idle node
    )


def _count_tree(top: Path) -> int:
    total = 0
    for name, path in _groups_in(str(top)):
        if is_job_group(name):
            total += _processes_below(path)
        else:
            total += sum(_processes_below(inner) for inner_name, inner in _groups_in(path) if is_job_group(inner_name))
    return total


def _processes_below(root: str) -> int:
    slurm = "slurm" in os.path.basename(root)  # noqa: PTH119  # hundreds of groups each second
    total = _processes_in(root)
    pending = [path for name, path in _groups_in(root) if not (slurm and name == _KEEPERS)]
    while pending:
        group = pending.pop()
        total += _processes_in(group)
        pending += [path for _, path in _groups_in(group)]
    return total


def _processes_in(group: str) -> int:
    try:
        descriptor = os.open(f"{group}/cgroup.procs", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # the job just ended
        return 0
    total = 0
    try:
        while chunk := os.read(descriptor, 65_536):
            total += chunk.count(b"\n")
    except OSError as error:
        # The job just ended; or a threaded group, whose processes stand in the group above it.
        if error.errno not in (errno.ENODEV, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)
    return total


def _groups_in(group: str) -> Iterator[tuple[str, str]]:
    try:
        with os.scandir(group) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield entry.name, entry.path
    except FileNotFoundError:  # the job just ended
        return
