"""The agent as a real process, and a systemd that listens to it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.agent.collector import wait_for


class Supervisor:
    """The receiving end of sd_notify."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self._heard: list[str] = []

    @property
    def heard(self) -> list[str]:
        try:
            while True:
                self._heard.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return self._heard

    def close(self) -> None:
        self._socket.close()


class AgentProcess:
    """Started on entry, ended by its process id on exit."""

    def __init__(
        self, folder: Path, collector: str, more: str = "", *, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.run_dir = folder / "run"
        self.config = folder / "agent.toml"
        if not self.config.exists():
            self.config.write_text(configuration(folder, collector, more))
        self._log = folder / "log"
        self._environment = environment or {}

    def __enter__(self) -> "AgentProcess":
        self.supervisor = Supervisor(self.folder)
        environment = {**os.environ, **self._environment, "NOTIFY_SOCKET": str(self.supervisor.path)}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fallow_agent.cli", "--config", self.config], stderr=log, env=environment
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10.0)
        self.supervisor.close()
        self.supervisor.path.unlink()

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def wait_until_ready(self) -> None:
        wait_for(lambda: "READY=1" in self.supervisor.heard or self.process.poll() is not None, "READY=1")
        assert self.process.poll() is None, self.log

    def stop(self, seconds: float = 60.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def configuration(folder: Path, collector: str, more: str = "") -> str:
    """A configuration under a folder; `more` goes before the tables."""
    return f"""
collector = "{collector}"
node = "node1"
{more}
[readers]
enabled = ["host"]
run_dir = "{folder / 'run'}"
kernel_log = ""
[spool]
dir = "{folder / 'spool'}"
max_mib = 1
"""
