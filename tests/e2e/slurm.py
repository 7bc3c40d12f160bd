"""A small Slurm cluster of real daemons: two slurmd on this host in a network namespace of their own, fake GPUs."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.e2e.programs import BIN, until

NODES = ("node0", "node1")
GPUS = 8

SLURM_CONF = """\
ClusterName=fallow
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={dir}/munge/sock
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort=16817
SlurmctldPidFile={dir}/ctld.pid
SlurmdPidFile={dir}/slurmd.%n.pid
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmctldTimeout=30
SlurmdTimeout=30
SlurmdParameters=config_overrides
Prolog={dir}/prolog.sh
PrologFlags=Alloc,DeferBatch
NodeName=node0 NodeHostname=localhost NodeAddr=127.0.0.1 Port=17001 CPUs=8 RealMemory=2000 Gres=gpu:h100:8
NodeName=node1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=17002 CPUs=8 RealMemory=2000 Gres=gpu:h100:8
PartitionName=gpu Nodes=node0,node1 Default=YES MaxTime=INFINITE State=UP
"""
GRES_CONF = """\
AutoDetect=off
NodeName=node[0-1] Name=gpu Type=h100 File={dir}/dev/nvidia[0-7]
"""
PROLOG = Path(__file__).parents[2] / "deploy" / "slurm" / "prolog.sh"
AGENT = """\
#!/bin/sh
FALLOW_AGENT_READERS__RUN_DIR={dir}/run exec {bin}/fallow-agent "$@"
"""
CGROUP_CONF = """\
CgroupAutomount=no
CgroupPlugin=cgroup/v1
"""


class Slurm:
    """As a context manager it runs inside the block. environment: for programs that call Slurm's commands."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("Slurm's daemons in a network namespace need root")
        self._dir = Path(tempfile.mkdtemp(prefix="slurm"))  # short: a socket's path has at most 108 bytes
        self._netns = f"slurm{os.getpid()}"
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._conf = self._dir / "conf" / "slurm.conf"
        self.environment = {"SLURM_CONF": str(self._conf), "PATH": f"{self._dir}/bin:{os.environ['PATH']}"}

    def __enter__(self) -> Self:
        try:
            self._prepare()
            self._start("munged", "--foreground", "--force", *(
                f"--{name}={self._dir}/munge/{file}" for name, file in
                (("key-file", "key"), ("socket", "sock"), ("pid-file", "pid"), ("log-file", "log"),
                 ("seed-file", "seed"))
            ))
            until((self._dir / "munge" / "sock").exists, "munged listens")
            self._start("slurmctld", "-D", "-f", str(self._conf))
            for node in NODES:
                self._start("slurmd", "-D", "-N", node, "-f", str(self._conf))
            until(lambda: self.run("sinfo", "-h", "-o", "%D %t", check=False).strip() == "2 idle", "two nodes are idle")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print((self._dir / "daemons.log").read_text(errors="replace")[-3000:])
        self.close()

    def hold(self, minor: int, token: int) -> None:
        """As an agent shows it that was told so: a device of both nodes is held by alice."""
        rows = {
            f"GPU-{number}": {
                "token": token if number == minor else None, "held": number == minor, "holder": "alice",
                "lease_id": "l7", "index": number, "minor": number, "pci_bus_id": f"0000:{number:02x}:00.0",
            }
            for number in range(GPUS)
        }
        (self._dir / "run" / "fences.json").write_text(json.dumps({"version": 1, "devices": rows}))

    def forget(self) -> None:
        """What the agent showed is gone."""
        (self._dir / "run" / "fences.json").unlink(missing_ok=True)

    def install_agent(self, script: str = AGENT) -> None:
        program = self._dir / "bin" / "fallow-agent"
        program.unlink(missing_ok=True)  # one that runs may not be written to
        program.write_text(script.format(dir=self._dir, bin=BIN))
        program.chmod(0o755)

    def has_run(self, job: str) -> bool:
        return (self._dir / f"ran.{job}").exists()

    def ask(self, node: str, gpus: int, *more: str) -> str:
        """The number of a batch job that wants them."""
        return self.run(
            "sbatch", "--parsable", "-w", node, f"--gres=gpu:{gpus}", "-c1", "-o", "/dev/null", *more,
            "--wrap", f"touch {self._dir}/ran.$SLURM_JOB_ID; sleep 600",
        ).strip()

    def submit(self, node: str, gpus: int, *more: str) -> str:
        """The number of a job that has them, once its script runs (Slurm calls it running while its Prolog does)."""
        job = self.ask(node, gpus, *more)
        until(lambda: self.has_run(job), f"job {job} runs")
        return job

    def cancel(self, job: str) -> None:
        self.run("scancel", job)
        until(lambda: not self.run("squeue", "-h", "-o", "%i", check=False).strip(), f"job {job} is gone")

    def node(self, name: str) -> str:
        return self.run("scontrol", "show", "node", "-d", "-o", name)

    def run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self._netns}", *command], capture_output=True, text=True, timeout=30,
            env={**os.environ, "SLURM_CONF": str(self._conf)}, cwd="/", check=False,
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
        return done.stdout

    def close(self) -> None:
        try:
            self._end()
        finally:  # also at a second Ctrl-C
            subprocess.run(["ip", "netns", "delete", self._netns], capture_output=True, check=False)
            shutil.rmtree(self._dir, ignore_errors=True)

    def _end(self) -> None:
        if self._daemons:
            self.run("scancel", "--user=root", check=False)
            deadline = time.monotonic() + 15
            while self.run("squeue", "-h", "-o", "%i", check=False).strip() and time.monotonic() < deadline:
                time.sleep(0.1)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()

    def _prepare(self) -> None:
        for name in ("conf", "dev", "munge", "state", "spool", "bin", "run"):
            (self._dir / name).mkdir()
        self._dir.chmod(0o755)
        (self._dir / "munge" / "key").write_bytes(os.urandom(1024))
        (self._dir / "munge" / "key").chmod(0o400)
        for file, text in (("slurm", SLURM_CONF), ("gres", GRES_CONF), ("cgroup", CGROUP_CONF)):
            (self._dir / "conf" / f"{file}.conf").write_text(text.format(dir=self._dir))
        for number in range(GPUS):
            os.mknod(self._dir / "dev" / f"nvidia{number}", 0o20666, os.makedev(1, 3))
        prolog = self._dir / "prolog.sh"
        prolog.write_text(PROLOG.read_text().replace("/opt/fallow/bin", f"{self._dir}/bin"))
        prolog.chmod(0o755)
        self.install_agent()
        # What the adapter finds on PATH is the real command, in the namespace where the daemons listen.
        wrapper = self._dir / "bin" / "scontrol"
        wrapper.write_text(
            f'#!/bin/sh\nexec nsenter --net=/run/netns/{self._netns} {shutil.which("scontrol")} "$@"\n'
        )
        wrapper.chmod(0o755)
        for command in (
            f"netns add {self._netns}", "link set lo up",
            "link add sv0 type veth peer name sv1",  # with nothing but lo, getaddrinfo finds no localhost
            "addr add 10.231.9.1/24 dev sv0", "link set sv0 up", "link set sv1 up",
        ):
            inside = [] if command.startswith("netns") else ["-n", self._netns]
            subprocess.run(["ip", *inside, *command.split()], capture_output=True, check=True)

    def _start(self, *command: str) -> None:
        with (self._dir / "daemons.log").open("ab") as log:
            self._daemons.append(subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self._netns}", *command], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd="/", start_new_session=True,  # a Ctrl-C is not for those who are asked to clean up
            ))
