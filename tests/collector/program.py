"""The real fallow-collector as a process, and an agent's side of the real wire, for tests."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import grpc
import httpx

from fallow_proto.v1 import telemetry_pb2 as pb
from fallow_proto.v1 import telemetry_pb2_grpc as stubs
from tests.ports import free_port

PATIENCE_S = 60.0


class Program:
    """A running collector; READY is awaited over systemd's own protocol."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.config = folder / "collector.toml"
        self.log = folder / "log"
        self._extra = extra
        self.configure()

    def configure(self, grpc: str | None = None, state: Path | None = None) -> None:
        """Another address or state folder than its own."""
        self.grpc = grpc or f"127.0.0.1:{free_port()}"
        self.http = f"127.0.0.1:{free_port()}"
        self.config.write_text(
            f'[grpc]\nlisten = "{self.grpc}"\n[http]\nlisten = "{self.http}"\n'
            f'[state]\ndir = "{state or self.folder / "state"}"\n{self._extra}'
        )

    def start(self, messages: int = 1, **environment: str) -> None:
        """Until systemd would have been told that it is ready, and so many things in all."""
        notified = self.folder / f"notify-{time.monotonic_ns()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening, self.log.open("ab") as log:
            listening.bind(str(notified))
            listening.settimeout(PATIENCE_S)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fallow_collector.cli", "--config", str(self.config)],
                env={**os.environ, "NOTIFY_SOCKET": str(notified), **environment}, stdout=log, stderr=log,
            )
            try:
                self.notified: list[str] = []
                while "READY=1" not in self.notified or len(self.notified) < messages:
                    self.notified.append(listening.recv(4096).decode())
            except TimeoutError:
                raise AssertionError(f"the collector is not ready: {self.log.read_text()}") from None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://{self.http}{path}", timeout=PATIENCE_S)


@contextmanager
def running(program: Program) -> Iterator[Program]:
    program.start()
    try:
        yield program
    finally:
        program.stop(signal.SIGKILL)


class Agent:
    """Speaks as an agent, one message at a time, for life_s at most."""

    def __init__(
        self, address: str, credentials: grpc.ChannelCredentials | None = None, life_s: float = PATIENCE_S
    ) -> None:
        if credentials is None:
            self._channel = grpc.insecure_channel(address)
        else:
            self._channel = grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", "collector")])
        self._outgoing: SimpleQueue[pb.FromAgent | None] = SimpleQueue()
        self._call = stubs.TelemetryStub(self._channel).Stream(iter(self._outgoing.get, None), timeout=life_s)

    def say(self, *messages: pb.FromAgent) -> None:
        for message in messages:
            self._outgoing.put(message)

    def hear(self, kind: str) -> pb.ToAgent:
        """The next message of this kind; others are passed over."""
        for message in self._call:
            if message.HasField(kind):  # type: ignore[arg-type]
                return message
        raise AssertionError(f"the stream ended before {kind} came: {self._call.code()} {self._call.details()}")

    def ending(self) -> tuple[grpc.StatusCode, str]:
        """How the stream ended."""
        return self._call.code(), self._call.details()

    def close(self) -> None:
        self._outgoing.put(None)
        self._call.cancel()
        self._channel.close()
