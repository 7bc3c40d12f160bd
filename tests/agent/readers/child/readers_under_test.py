"""Readers that go wrong in every way that a vendor's library does; their processes import them from here."""

import contextlib
import ctypes
import logging
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from fallow_agent.readers.reader import DeviceIdentity, Process, ReaderAbsent, ReaderError, Reading
from fallow_proto.metrics import Group

FOLDER = Path(os.environ.get("FALLOW_TEST_FOLDER", "."))


class Good:
    name = "good"

    def open(self) -> Sequence[DeviceIdentity]:
        return [DeviceIdentity(uuid="dev-0", vendor="acme", model="One", index=0, unsupported=frozenset({"processes"}))]

    def columns(self, group: Group) -> Sequence[str]:
        return ["utilization_ratio", "memory_usage_bytes"] if group is Group.FAST else []

    def read(self, group: Group) -> Sequence[Reading]:
        return [Reading("dev-0", {"utilization_ratio": 0.5})]

    def changed(self) -> bool:
        return False

    def close(self) -> None:
        (FOLDER / "closed").touch()


class Complaining(Good):
    def read(self, group: Group) -> Sequence[Reading]:
        logging.getLogger(__name__).warning("a device is not what it was")
        return super().read(group)


class Babbling(Good):
    """Its first process writes over what the second one has whole."""

    def read(self, group: Group) -> Sequence[Reading]:
        if not (FOLDER / "closed").exists():
            for descriptor in Path("/proc/self/fd").iterdir():
                with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(descriptor.name))) as channel:
                    channel.send(b"\xc1")
        return super().read(group)


class Verbose(Good):
    def read(self, group: Group) -> Sequence[Reading]:
        return [Reading("dev-0", processes=[Process(1 << 30, 1e9)] * 20_000)]


class Twins(Good):
    """As clones of one virtual machine's image are."""

    def open(self) -> Sequence[DeviceIdentity]:
        return [DeviceIdentity(uuid=uuid, vendor="acme", model="One", index=0) for uuid in ("one", "two", "one", "")]


class Missing(Good):
    def open(self) -> Sequence[DeviceIdentity]:
        raise ReaderAbsent("no library of this vendor")


class Mismatched(Good):
    def read(self, group: Group) -> Sequence[Reading]:
        raise ReaderError("driver and library differ; restart what still uses the old driver")


class Mistaken(Good):
    def read(self, group: Group) -> Sequence[Reading]:
        raise KeyError("temperature")


class Crashing(Good):
    def read(self, group: Group) -> Sequence[Reading]:
        ctypes.string_at(0)
        return []


class Hanging(Good):
    """Until somebody makes the file "let-go", as a call that is stuck in a driver comes back some day."""

    def read(self, group: Group) -> Sequence[Reading]:
        while not (FOLDER / "let-go").exists():
            time.sleep(0.01)
        return super().read(group)


class HangingOpen(Hanging):
    def open(self) -> Sequence[DeviceIdentity]:
        self.read(Group.FAST)
        return super().open()


class Noisy(Good):
    def read(self, group: Group) -> Sequence[Reading]:
        os.write(1, b"a vendor's library says hello\n" * 10_000)
        return super().read(group)


class Replaced(Good):
    """Its devices changed, whenever it is asked."""

    def changed(self) -> bool:
        return True
