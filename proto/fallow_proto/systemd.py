"""Telling systemd how a service does (sd_notify(3))."""

import os
import socket

_PATIENCE_S = 0.2
"""A systemd that is starting a whole machine may be behind, and is told of readiness once only."""


def notify(state: str) -> None:
    """Send e.g. "READY=1", "WATCHDOG=1" or "STATUS=…" to systemd; nothing happens when it did not start us.

    An error is ignored on purpose: a service must not fail because its supervisor does not listen. Nor is it waited
    for long: the socket of one that has stopped reading ("Freezing execution") takes some hundreds of messages, and the
    next would hold the service up for ever.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(_PATIENCE_S)
            channel.sendto(state.encode(), address)
    except OSError:
        pass


def notify_status(text: str) -> None:
    """The line that `systemctl status` shows. A break in it would begin another message."""
    notify(f"STATUS={' '.join(text.split())}")


class Watchdog:
    """When to feed systemd's: no more often than it needs, and only for work that was done since the last time, so that
    a loop that runs and achieves nothing starves it."""

    def __init__(self, every_s: float | None, now: float) -> None:
        """every_s: as watchdog_interval_s() says. now: seconds of any clock that never goes back."""
        self._every_s = every_s
        self._due_at = now
        self._worked = False

    def worked(self) -> None:
        """What the service is there for was done."""
        self._worked = True

    def due(self, now: float) -> bool:
        """Whether to send WATCHDOG=1 now; the caller then does."""
        if self._every_s is None or now < self._due_at or not self._worked:
            return False
        self._due_at = now + self._every_s
        self._worked = False
        return True


def watchdog_interval_s() -> float | None:
    """How often to send WATCHDOG=1: half of what systemd allows, or None when it does not watch us."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2e6
