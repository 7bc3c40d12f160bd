"""A machine of its own for services: Debian booted by its own systemd, in a container without any network but loopback.

It is not registered with this machine's systemd, which need not run; commands enter it by the namespaces of its init.
systemd's limits of memory and CPU are not enforced inside where the host's control groups are of version 1.
"""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.programs import DEADLINE_S, until

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_STOP_S = 60.0


class Machine:
    """As a context manager it runs inside the block.

    root: its file system, seen from here. binds: folders of this machine that it may read, by their paths inside.
    """

    def __init__(self, root: Path, binds: Mapping[str, Path]) -> None:
        self.root = root
        self._console = root.with_name(f"{root.name}.console")
        self._command = [
            # It ends with the tests, even if they are killed.
            "setpriv", "--pdeathsig", "TERM",
            "systemd-nspawn", "--quiet", "--directory", str(root), "--boot", "--register=no", "--keep-unit",
            "--private-network", "--console=pipe",
            "--capability=CAP_SYSLOG",  # which a real machine has, and the agent's unit asks for
            *(f"--bind-ro={ours}:{inside}" for inside, ours in binds.items()),
        ]
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Self:
        with self._console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        try:
            self._init = until(self._find_init, "systemd is the container's first process")
            state = until(self._has_booted, "the machine has booted")
            assert state == "running", self.run("systemctl", "--failed", "--no-pager")
        except BaseException:
            print(f"--- {self._console}\n{self._console.read_text(errors='replace')[-4000:]}")
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(self, *command: str, status: int | None = 0, **environment: str) -> str:
        """What a command of root prints inside. status: what it has to end with; None: anything."""
        done = subprocess.run(
            [
                "nsenter", "--target", str(self._init), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
                "/usr/bin/env", "-i", f"PATH={_PATH}", "LANG=C.UTF-8",
                *(f"{name}={value}" for name, value in environment.items()), *command,
            ],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=DEADLINE_S,
        )
        assert status is None or done.returncode == status, (
            f"{' '.join(command)} ended with {done.returncode}, expected {status}:\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def systemctl(self, *arguments: str) -> None:
        self.run("systemctl", *arguments)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit", unit)

    def _find_init(self) -> int | None:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, f"systemd-nspawn has ended with {self._nspawn.returncode}"
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        return next((int(pid) for pid in children if _name(pid) == "systemd"), None)

    def _has_booted(self) -> str | None:
        state = self.run("systemctl", "is-system-running", status=None).strip()
        return state if state in ("running", "degraded", "maintenance") else None

    def _end(self) -> None:
        """Shut it down as a power button would; pull the plug if it does not."""
        if self._nspawn is None:
            return
        self._nspawn.terminate()
        try:
            self._nspawn.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            # All that runs inside dies with its init, which would outlive a killed nspawn; and nspawn ends with it.
            os.kill(self._init or self._nspawn.pid, signal.SIGKILL)
            self._nspawn.wait(_STOP_S)
        self._nspawn = None


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
