"""Real servers on loopback, each with its own folder; ended by their own process handle."""

import subprocess
import time
from pathlib import Path

import httpx

from tests.ports import free_port

_START_S = 60.0


class RealServer:
    """A child process that answers `health` when it is ready."""

    def __init__(self, command: list[str], url: str, health: str, log: Path) -> None:
        self.url = url
        self._command = command
        self._health = health
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns in the second after the one in which it began: a store writes to none before."""
        self.start_at_once()
        second = int(time.time())
        while int(time.time()) == second:
            time.sleep(0.05)

    def start_at_once(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        while True:
            try:
                if httpx.get(self.url + self._health, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"{self._command[0]} did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9"""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None


def victoria_metrics(folder: Path) -> RealServer:
    port = free_port()
    return RealServer(
        [
            "victoria-metrics", f"-storageDataPath={folder / 'data'}", f"-httpListenAddr=127.0.0.1:{port}",
            "-retentionPeriod=100y", "-memory.allowedBytes=256MB", "-loggerLevel=ERROR",
        ],
        f"http://127.0.0.1:{port}", "/health", folder / "victoria-metrics.log",
    )


def influxd(folder: Path) -> RealServer:
    port = free_port()
    (folder / "influxd.conf").write_text(f"""
reporting-disabled = true
bind-address = "127.0.0.1:{free_port()}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "tsi1"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[logging]
  level = "warn"
""")
    return RealServer(
        ["influxd", "-config", str(folder / "influxd.conf")],
        f"http://127.0.0.1:{port}", "/ping", folder / "influxd.log",
    )
