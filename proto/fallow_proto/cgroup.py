"""What a process's control group says of it: the job, the pod, the container or the unit that it belongs to.

Paths as these make them:

    Slurm, v2      /system.slice/slurmstepd.scope/job_17/step_0/user/task_0   several slurmd: NODE_slurmstepd.scope
    Slurm, v1      /slurm/uid_1000/job_17/step_0/task_0                       several slurmd: slurm_NODE
    kubelet        /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice/… (systemd; _ for -)
    kubelet        /kubepods/burstable/podUID/… (cgroupfs); guaranteed pods stand one level higher in both
    containers     /docker/ID, /system.slice/docker-ID.scope, …/cri-containerd-ID.scope, …/crio-ID.scope
    systemd        /system.slice/xorg.service, /user.slice/user-1000.slice/session-3.scope
"""

import re
from typing import NamedTuple

_JOB = re.compile(r"/(?:slurm(?:_[^/]+)?/uid_\d+|system\.slice/(?:[^/]+_)?slurmstepd\.scope)/job_(\d+)(?=/|$)")
_POD = re.compile(
    r"/(?:[^/]*kubepods[^/]*-pod([0-9a-f_]{32,36})\.slice|kubepods/(?:[a-z]+/)?pod([0-9a-f-]{32,36}))(?=/|$)"
)
_CONTAINER = re.compile(r"/(?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?(?=/|$)")
_UNIT = re.compile(r"/([^/]+\.(?:service|scope))(?=/|$)")
_OF_USERS = re.compile(r"^/user\.slice(?=/|$)")
_LINE = re.compile(r"\d+:([^:]*):(/.*)")


class Named(NamedTuple):
    """What a path names, "" where nothing. job: Slurm's number of it; pod: uid, spelled with dashes."""

    job: str = ""
    pod: str = ""
    container: str = ""
    unit: str = ""


def named(path: str) -> Named:
    """Of a path. Below user.slice users make groups of any name, and only units are believed there."""
    unit = (_UNIT.findall(path) or [""])[-1]
    if _OF_USERS.match(path):
        return Named(unit=unit)
    job, pod, container = _JOB.search(path), _POD.search(path), _CONTAINER.search(path)
    return Named(
        job[1] if job else "", (pod[1] or pod[2]).replace("_", "-") if pod else "", container[1] if container else "",
        unit,
    )


def path_of(text: str) -> str:
    """The path that says most, of /proc/PID/cgroup: with v1 a process has one in each hierarchy, and Slurm and kubelet
    use only some of them. "" when there is none.
    """
    found = [match for line in text.splitlines() if (match := _LINE.fullmatch(line))]
    paths = [match[2] for match in sorted(found, key=lambda match: match[1] not in ("", "name=systemd"))]
    return max(paths, key=_tells, default="")


def _tells(path: str) -> tuple[bool, bool, bool]:
    said = named(path)
    return bool(said.job), bool(said.pod or said.container), path != "/"
