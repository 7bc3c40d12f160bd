"""Telling systemd how a service does (sd_notify(3))."""

import os
import socket


def notify(state: str) -> None:
    """Send e.g. "READY=1", "WATCHDOG=1" or "STATUS=…" to systemd; nothing happens when it did not start us.

    An error is ignored on purpose: a service must not fail because its supervisor does not listen.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(state.encode(), address)
    except OSError:
        pass


def watchdog_interval_s() -> float | None:
    """How often to send WATCHDOG=1: half of what systemd allows, or None when it does not watch us."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2e6
