"""Processes under measurement: starting them, what they cost, ending them."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

INSTALLED = (sys.prefix, sys.base_prefix)
"""Folders."""


class Cost(NamedTuple):
    """Of a process and its descendants: CPU seconds since their starts, memory now, and the moment.

    pss_bytes: the proportional set size that they would have together if nobody else ran this installation. Here others
    do, a collector beside the agent for one, which makes the kernel's figure 10 MiB smaller than that of a node.
    """

    cpu_s: float
    pss_bytes: int
    at: float


def cost(process: psutil.Process) -> Cost:
    cpu, own = 0.0, 0
    files: dict[tuple[str, str, int], int] = {}  # resident bytes of each part of a file, wherever most of it is
    for one in [process, *process.children(recursive=True)]:
        try:
            times, maps = one.cpu_times(), one.memory_maps(grouped=False)
        except psutil.NoSuchProcess:  # ended between the two questions
            continue
        cpu += times.user + times.system
        for part in maps:
            if part.path.startswith(INSTALLED):
                of_file = (part.path, part.perms, part.size)
                files[of_file] = max(files.get(of_file, 0), part.rss - part.anonymous)
                own += min(part.anonymous, part.pss)
            else:
                own += part.pss
    return Cost(cpu, own + sum(files.values()), time.monotonic())


def cores(before: Cost, after: Cost) -> float:
    """CPU seconds a second."""
    return (after.cpu_s - before.cpu_s) / (after.at - before.at)


def command(name: str) -> str:
    """A command of this installation."""
    return str(Path(sys.executable).with_name(name))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[psutil.Popen]:
    """A process whose output goes to a file, ended when left."""
    with log.open("ab") as file:
        process = psutil.Popen(list(arguments), stdout=file, stderr=file, env=environment)
    try:
        yield process
    finally:
        try:
            if process.poll() is None:
                process.terminate()
            process.wait(15)
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
