"""A reader in a process of its own, which finds the library as any process does: by LD_LIBRARY_PATH.

Run as a script, it is that process: method name and arguments come on standard input, the result or the ReaderError
goes to standard output.
"""

import os
import pickle
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from fallow_agent.readers.reader import DeviceIdentity, ReaderError, Reading
from fallow_agent.readers.registry import READERS
from fallow_proto.metrics import Group


class RemoteReader:
    """A Reader whose every call is made in the other process."""

    def __init__(self, environment: Mapping[str, str], sysfs: Path, name: str = "nvidia") -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, __file__, name, str(sysfs)],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def open(self) -> Sequence[DeviceIdentity]:
        return self._ask("open")  # type: ignore[no-any-return]

    def columns(self, group: Group) -> Sequence[str]:
        return self._ask("columns", group)  # type: ignore[no-any-return]

    def read(self, group: Group) -> Sequence[Reading]:
        return self._ask("read", group)  # type: ignore[no-any-return]

    def changed(self) -> bool:
        return self._ask("changed")  # type: ignore[no-any-return]

    def close(self) -> None:
        self._ask("close")

    def send(self, method: str, *arguments: object) -> None:
        assert self._process.stdin
        pickle.dump((method, arguments), self._process.stdin)
        self._process.stdin.flush()

    def answered(self, within_s: float) -> bool:
        """Whether there is an answer to receive()."""
        assert self._process.stdout
        return bool(select.select([self._process.stdout], [], [], within_s)[0])

    def receive(self) -> Any:
        assert self.answered(within_s=20), "the reader's process does not answer"
        assert self._process.stdout
        result = pickle.load(self._process.stdout)
        if isinstance(result, ReaderError):
            raise result
        return result

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, method: str, *arguments: object) -> Any:
        self.send(method, *arguments)
        return self.receive()


def main(name: str, sysfs: Path) -> None:
    module, _, attribute = READERS[name].partition(":")
    reader = getattr(import_module(module), attribute)(sysfs)
    while True:
        try:
            method, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            result = getattr(reader, method)(*arguments)
        except ReaderError as error:
            result = error
        pickle.dump(result, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
