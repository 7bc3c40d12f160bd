"""Ports of loopback for servers that are told where to listen."""

import os
import socket
from functools import cache
from itertools import cycle
from random import SystemRandom

FIRST, END = 10_000, 32_768
"""Below those that Linux gives outgoing connections, one of which could take a port while its server restarts."""
WORKERS = 32
"""More than ever run side by side: each takes every 32nd port, so that none is handed out twice between a look and a
server's bind."""


def free_port() -> int:
    """One that nobody listens on, and that was handed out hundreds of calls ago if ever: a program that is given two
    before it binds the first must not be given the same one twice."""
    ports = _ports(int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS)
    while True:
        port = next(ports)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # somebody listens
                continue
            return port


@cache
def _ports(worker: int) -> "cycle[int]":
    mine = range(FIRST + worker, END, WORKERS)
    return cycle(SystemRandom().sample(mine, len(mine)))  # no test's seed makes two runs choose alike
