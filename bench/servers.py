"""A real collector and a real fleet of simulated nodes, as processes on this machine."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench.processes import command, free_port, running

READY_WITHIN_S = 30.0


class Collector:
    """Where a collector's files and ports are; it may be started more than once."""

    def __init__(self, folder: Path, idle: dict[str, float]) -> None:
        """idle: keys of [idle] that differ from the defaults."""
        self.folder = folder
        self.grpc, self.http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.log = folder / "collector.log"
        self._config = folder / "collector.toml"
        lines = [
            f'grpc.listen = "{self.grpc}"', f'http.listen = "{self.http}"', f'state.dir = "{folder / "state"}"',
            *(f"idle.{key} = {value}" for key, value in idle.items()),
        ]
        self._config.write_text("\n".join(lines) + "\n")

    @contextmanager
    def running(self) -> Iterator[psutil.Popen]:
        with running([command("fallow-collector"), "--config", str(self._config)], self.log) as process:
            self._until_ready(process)
            yield process

    def get(self, path: str) -> Any:  # whatever JSON holds
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=30) as answer:
            return json.load(answer)

    def metrics(self) -> dict[str, float]:
        """Its own numbers without labels, by name."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        return {name: float(value) for name, value in re.findall(r"^(fallow_\w+) (\S+)$", text, re.MULTILINE)}

    def _until_ready(self, process: psutil.Popen) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                self.get("/api/v1/capacity")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
            else:
                return
        raise SystemExit(f"the collector did not start:\n{self.log.read_text()[-2000:]}")


class Fleet:
    """A running fallow-sim."""

    def __init__(self, process: psutil.Popen, log: Path) -> None:
        self.process = process
        self._log = log

    def status(self) -> dict[str, str]:
        """Its latest line of progress, by word; empty before the first."""
        lines = [line for line in self._log.read_text().splitlines() if line.startswith("connected=")]
        return dict(re.findall(r'(\w+)=("[^"]*"|\S+)', lines[-1])) if lines else {}


@contextmanager
def fleet(collector: Collector, nodes: int, devices: int) -> Iterator[Fleet]:
    log = collector.folder / f"sim-{nodes}.log"
    arguments = ["--collector", collector.grpc, "--nodes", str(nodes), "--devices", str(devices)]
    with running([command("fallow-sim"), *arguments], log) as process:
        yield Fleet(process, log)
