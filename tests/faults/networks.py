"""Hosts on one machine: network namespaces, a wire from each node's to the collector's."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import pytest

CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


class Networks:
    """A namespace of the collector and some of nodes; as a context manager they are there inside the block.

    What is written of node `number` below is one end of its wire: `near` its own address, `far` the collector's.
    """

    def __init__(self, nodes: int) -> None:
        if os.geteuid() != 0:
            pytest.skip("network namespaces need root")
        self._nodes = nodes
        self._prefix = f"fallow{os.getpid()}"
        self.centre = f"{self._prefix}c"

    def name(self, number: int) -> str:
        return f"{self._prefix}n{number}"

    def near(self, number: int) -> str:
        return f"10.231.{number}.2"

    def far(self, number: int) -> str:
        return f"10.231.{number}.1"

    def under(self, number: int) -> tuple[str, ...]:
        """A command that executes a program on the node."""
        return "nsenter", f"--net=/run/netns/{self.name(number)}"

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    @contextmanager
    def at_the_centre(self) -> Iterator[None]:
        """This thread, and the programs and threads that it starts, are on the collector's host inside the block."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.centre}", os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(home)
            os.close(there)
            os.close(home)

    def plug(self, number: int, *, is_in: bool) -> None:
        """The node's end of the wire."""
        self._ip(self.name(number), f"link set up0 {'up' if is_in else 'down'}")

    def swallow(self, number: int, *, what_it_sends: bool = False, what_it_gets: bool = False) -> None:
        """Packets of one direction vanish, or both; nothing named: none does any more."""
        for host, to, is_hole in (
            (self.name(number), self.far(number), what_it_sends), (self.centre, self.near(number), what_it_gets),
        ):
            self._ip(host, f"route {'replace' if is_hole else 'delete'} blackhole {to}/32", check=is_hole)

    def _build(self) -> None:
        for host in (self.centre, *map(self.name, range(self._nodes))):
            self._run("ip", "netns", "add", host)
            self._ip(host, "link set lo up")
        for number in range(self._nodes):
            node = self.name(number)
            self._ip(self.centre, f"link add down{number} type veth peer name up0 netns {node}")
            self._ip(self.centre, f"addr add {self.far(number)}/30 dev down{number}")
            self._ip(self.centre, f"link set down{number} up")
            self._ip(node, f"addr add {self.near(number)}/30 dev up0")
            self._ip(node, "link set up0 up")

    def _remove(self) -> None:
        for host in (*map(self.name, range(self._nodes)), self.centre):
            self._run("ip", "netns", "delete", host, check=False)

    def _ip(self, host: str, command: str, *, check: bool = True) -> None:
        self._run("ip", "-n", host, *command.split(), check=check)

    def _run(self, *command: str, check: bool = True) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, f"{' '.join(command)}: {done.stderr}"


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
