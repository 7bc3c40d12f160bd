"""systemd's side of a watchdog: what a program feeds it, and for how long it was silent."""

import socket
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

EVERY_S = 0.5


class Heartbeat:
    """Of programs that are started with `environment`."""

    def __init__(self, path: Path) -> None:
        self.environment: Mapping[str, str] = {
            "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(round(2 * EVERY_S * 1e6)),
        }
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.1)
        self._thread = Thread(target=self._listen, name="heartbeat")
        self._over = False
        self._last = time.monotonic()
        self._longest_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._thread.join()
        self._socket.close()

    def begin(self) -> None:
        """Forget the silences until now."""
        self._last, self._longest_s = time.monotonic(), 0.0

    @property
    def silence_s(self) -> float:
        """The longest since `begin`, this one too."""
        return max(self._longest_s, time.monotonic() - self._last)

    def _listen(self) -> None:
        while not self._over:
            try:
                fed = self._socket.recv(4096) == b"WATCHDOG=1"
            except TimeoutError:
                continue
            if fed:
                now = time.monotonic()
                self._longest_s, self._last = max(self._longest_s, now - self._last), now
