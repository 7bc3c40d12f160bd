"""Fallow's programs as real processes on loopback: started, waited for, killed and stopped by their own handles."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar

import httpx

from fallow_client.client import Client
from fallow_client.connection import settings_for
from fallow_proto import api
from tests.ports import free_port

BIN = Path(sys.executable).parent
DEADLINE_S = 120.0
"""For what takes seconds on a machine that does nothing else; these tests have it never for themselves."""

Found = TypeVar("Found")


def until(look: Callable[[], Found | None], what: str, deadline_s: float = DEADLINE_S) -> Found:
    """What `look` finds, once it is true; fails with `what` was expected and what it found last."""
    deadline = time.monotonic() + deadline_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {deadline_s:.0f} s: {what}; found {found!r}"
        time.sleep(0.05)
    return found


def environment(**more: str) -> dict[str, str]:
    """That of the tests without what would configure Fallow."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("FALLOW_")}, **more}


class Program:
    """One program; as a context manager it runs inside the block, and its log is shown if the block fails.

    under: a command that executes the program, such as a tracer; also: more environment. Set them before the start.
    """

    under: tuple[str, ...] = ()
    also: Mapping[str, str] = MappingProxyType({})

    def __init__(self, folder: Path, name: str, *arguments: str, more_environment: Mapping[str, str] | None = None):
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = [str(BIN / name), *arguments]
        self._environment = environment(**(more_environment or {}))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.under, *self._command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**self._environment, **self.also},
            )

    def kill(self) -> None:
        """kill -9"""
        assert self._process is not None, f"{self.name} does not run"
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> int:
        """Its exit status after SIGTERM."""
        assert self._process is not None, f"{self.name} does not run"
        self._process.terminate()
        try:
            return self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"{self.name} did not stop on SIGTERM:\n{self.tail()}") from None
        finally:
            self._process = None

    def ended(self) -> int:
        """Its exit status, once it has ended by itself."""
        assert self._process is not None, f"{self.name} does not run"
        try:
            return self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {DEADLINE_S:.0f} s:\n{self.tail()}") from None

    def tail(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def check(self) -> None:
        assert self._process is not None, f"{self.name} does not run"
        status = self._process.poll()
        assert status is None, f"{self.name} has ended with status {status}:\n{self.tail()}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.stop()
        if error is not None:
            print(f"--- {self.log}\n{self.tail()}")


class Collector(Program):
    """Listens on free ports of loopback, the same ones after a restart. `settings` are lines of TOML."""

    def __init__(self, folder: Path, *settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.grpc = f"127.0.0.1:{free_port()}"
        self.url = f"http://127.0.0.1:{free_port()}"
        self._config = folder / "collector.toml"
        self._config.write_text("\n".join([
            f'grpc.listen = "{self.grpc}"',
            f'http.listen = "{self.url.removeprefix("http://")}"',
            f'state.dir = "{folder / "collector"}"',
            *settings,
        ]))
        super().__init__(folder, "fallow-collector", "--config", str(self._config))

    def start(self) -> None:
        super().start()
        try:
            until(self._ready, "the collector is ready")
        except AssertionError:
            self.stop()
            print(f"--- {self.log}\n{self.tail()}")
            raise

    def _ready(self) -> bool:
        self.check()
        try:
            with httpx.Client(**settings_for(self.url)) as http:
                return http.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def devices(self) -> dict[str, api.Device]:
        """All devices by uuid."""
        with Client(self.url) as client:
            return {device.uuid: device for device in client.all_devices()}

    def node(self, name: str) -> api.Node | None:
        with Client(self.url) as client:
            return next((node for node in client.nodes().items if node.node == name), None)

    def fallow(self, *arguments: str, status: int = 0) -> str:
        """What the command `fallow` prints about this collector."""
        done = subprocess.run(
            [str(BIN / "fallow"), *arguments], env=environment(FALLOW_URL=self.url, COLUMNS="200"),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=DEADLINE_S,
        )
        assert done.returncode == status, f"fallow {' '.join(arguments)} ended with {done.returncode}: {done.stderr}"
        return done.stdout

    def fallow_json(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(self.fallow(*arguments, "--json", status=status))


class Agent(Program):
    """An agent with a spool and locks of its own; node "n1". `settings` are lines of TOML."""

    def __init__(
        self, folder: Path, collector: str, *settings: str, more_environment: Mapping[str, str] | None = None
    ) -> None:
        self.locks = folder / "run"
        self.locks.mkdir(parents=True, exist_ok=True)
        self._config = folder / "agent.toml"
        self._config.write_text("\n".join([
            'node = "n1"',
            f'collector = "{collector}"',
            f'spool.dir = "{folder / "agent"}"',
            f'readers.run_dir = "{self.locks}"',
            *settings,
        ]))
        super().__init__(folder, "fallow-agent", "--config", str(self._config), more_environment=more_environment)


class Sim(Program):
    def __init__(self, folder: Path, collector: str, *arguments: str) -> None:
        super().__init__(folder, "fallow-sim", "--collector", collector, "--quiet", *arguments)
