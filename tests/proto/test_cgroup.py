"""Control groups as schedulers, container runtimes and systemd name them."""

import pytest

from fallow_proto.cgroup import Named, named, path_of

CONTAINER = "34dc0b5e626f2c5c4c5170e34b10e7654ce36f0fcd532739f4445baabea03376"
UID = "44e4b37f-504f-4f1c-80f3-4137bfbec5e4"
SPELLED = UID.replace("-", "_")


@pytest.mark.parametrize(("path", "expected"), [
    # Slurm
    ("/system.slice/slurmstepd.scope/job_1392969/step_0/user/task_0", Named(job="1392969", unit="slurmstepd.scope")),
    ("/system.slice/slurmstepd.scope/job_42/step_extern/user", Named(job="42", unit="slurmstepd.scope")),
    ("/system.slice/n7_slurmstepd.scope/job_5/step_batch/user", Named(job="5", unit="n7_slurmstepd.scope")),
    ("/system.slice/slurmstepd.scope/system", Named(unit="slurmstepd.scope")),
    ("/slurm/uid_2101171/job_280678/step_interactive/task_0", Named(job="280678")),
    ("/slurm_n7/uid_1000/job_17/step_0", Named(job="17")),
    ("/slurm", Named()),
    ("/system.slice/slurmd.service", Named(unit="slurmd.service")),
    ("/system.slice/slurmstepd.scope/job_bad", Named(unit="slurmstepd.scope")),
    # kubelet, systemd driver: burstable, guaranteed, and in kind; a static pod's uid has no dashes
    (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SPELLED}.slice/cri-containerd-{CONTAINER}.scope",
     Named(pod=UID, container=CONTAINER, unit=f"cri-containerd-{CONTAINER}.scope")),
    (f"/kubepods.slice/kubepods-pod{SPELLED}.slice/crio-{CONTAINER}.scope",
     Named(pod=UID, container=CONTAINER, unit=f"crio-{CONTAINER}.scope")),
    ("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
     f"kubelet-kubepods-besteffort-pod{SPELLED}.slice/cri-containerd-{CONTAINER}.scope",
     Named(pod=UID, container=CONTAINER, unit=f"cri-containerd-{CONTAINER}.scope")),
    ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7fccb20b4bbb99e737878eab4bb685c1.slice",
     Named(pod="7fccb20b4bbb99e737878eab4bb685c1")),
    # kubelet, cgroupfs driver; seen from a container with a control group namespace of its own
    (f"/kubepods/besteffort/pod{UID}/{CONTAINER}", Named(pod=UID, container=CONTAINER)),
    (f"/kubepods/pod{UID}/{CONTAINER}", Named(pod=UID, container=CONTAINER)),
    (f"/../../kubepods/burstable/pod{UID}/{CONTAINER}", Named(pod=UID, container=CONTAINER)),
    # Docker and Podman
    (f"/docker/{CONTAINER}", Named(container=CONTAINER)),
    (f"/system.slice/docker-{CONTAINER}.scope", Named(container=CONTAINER, unit=f"docker-{CONTAINER}.scope")),
    (f"/machine.slice/libpod-{CONTAINER}.scope/container",
     Named(container=CONTAINER, unit=f"libpod-{CONTAINER}.scope")),
    # systemd
    ("/system.slice/xorg.service", Named(unit="xorg.service")),
    ("/user.slice/user-1000.slice/session-3.scope", Named(unit="session-3.scope")),
    ("/user.slice/user-1000.slice/user@1000.service/app.slice/jupyter.service", Named(unit="jupyter.service")),
    ("/", Named()),
    ("", Named()),
])
def test_a_path_names_what_it_belongs_to(path: str, expected: Named) -> None:
    assert named(path) == expected


@pytest.mark.parametrize("path", [
    "/user.slice/user-1000.slice/user@1000.service/system.slice/slurmstepd.scope/job_7",
    "/user.slice/user-1000.slice/user@1000.service/slurm/uid_0/job_7",
    f"/user.slice/user-1000.slice/user@1000.service/kubepods/pod{UID}",
])
def test_a_group_that_a_user_made_names_no_job_and_no_pod(path: str) -> None:
    assert named(path)[:3] == ("", "", "")


V1_SLURM = """\
12:rdma:/
11:cpuset:/slurm/uid_1000/job_195428/step_batch
4:memory:/slurm/uid_1000/job_195428/step_batch
2:cpu,cpuacct:/system.slice/slurmd.service
1:name=systemd:/system.slice/slurmd.service
0::/
"""


@pytest.mark.parametrize(("text", "path"), [
    ("0::/system.slice/slurmstepd.scope/job_17/step_0/user/task_0\n",
     "/system.slice/slurmstepd.scope/job_17/step_0/user/task_0"),
    (V1_SLURM, "/slurm/uid_1000/job_195428/step_batch"),
    (f"10:memory:/kubepods/burstable/pod{UID}/{CONTAINER}\n9:rdma:/\n1:name=systemd:/system.slice/kubelet.service\n",
     f"/kubepods/burstable/pod{UID}/{CONTAINER}"),
    ("12:pids:/user.slice\n1:name=systemd:/user.slice/user-1000.slice/session-3.scope\n",
     "/user.slice/user-1000.slice/session-3.scope"),
    ("5:devices:/odd\n0::/\n", "/odd"),
    ("0::/a:b/c.service\n", "/a:b/c.service"),
    ("0::/\n", "/"),
    ("", ""),
    ("nonsense\n", ""),
])
def test_of_several_hierarchies_the_one_that_says_most_counts(text: str, path: str) -> None:
    assert path_of(text) == path
