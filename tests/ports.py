"""Ports of loopback for servers that are told where to listen."""

import os
import socket
from random import SystemRandom

FIRST, END = 10_000, 32_768
"""Below those that Linux gives outgoing connections, one of which could take a port while its server restarts."""
WORKERS = 32
"""More than ever run side by side: each takes every 32nd port, so that none is handed out twice between a look and a
server's bind."""


def free_port() -> int:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    chance = SystemRandom()  # no test's seed makes two runs choose alike
    while True:
        port = chance.randrange(FIRST + worker, END, WORKERS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # somebody listens
                continue
            return port
