"""What clients of the fault suite asked of a collector and were told: a line of JSON for each call.

Times are seconds of CLOCK_BOOTTIME, which all processes of a machine share.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import NamedTuple

import msgspec


class Ask(StrEnum):
    RESERVE = "reserve"
    COMMIT = "commit"
    RENEW = "renew"
    RELEASE = "release"
    READ = "read"  # all leases that there are


class Sight(NamedTuple):
    """A lease in the answer to a READ."""

    token: int
    state: str
    holder: str
    devices: list[str]


class Op(NamedTuple):
    """A call, from `invoked` until its caller knew, or gave up waiting, at `ended`.

    code: "" when it was done, the Fault that refused it, or UNKNOWN. token: of the lease, 0: none is known. devices: of
    the lease. key, hold: of a RESERVE. ttl_s: how long the lease lasts from the answer on; without one, from when it is
    heard. seen: what a READ showed.
    """

    who: str
    ask: Ask
    invoked: float
    ended: float
    code: str = ""
    token: int = 0
    devices: list[str] = []  # noqa: RUF012 - a NamedTuple's default, which nobody changes
    key: str = ""
    ttl_s: float = 0.0
    hold: bool = False
    seen: list[Sight] = []  # noqa: RUF012

    @property
    def is_done(self) -> bool:
        return not self.code

    @property
    def answered(self) -> float:
        """When it had taken effect, if ever: inf for a call that nobody knows of."""
        return inf if self.code == UNKNOWN else self.ended


UNKNOWN = "unknown"
"""The code of a call without an answer: it may have taken effect, or may not."""


def line_of(op: Op) -> str:
    return msgspec.json.encode(op).decode() + "\n"


def read(logs: Iterable[Path]) -> list[Op]:
    return sorted(_ops(logs), key=lambda op: op.invoked)


def _ops(logs: Iterable[Path]) -> Iterator[Op]:
    decode = msgspec.json.Decoder(Op).decode
    for log in logs:
        whole, _, _ = log.read_bytes().rpartition(b"\n")  # the last line may be just being written
        for line in whole.splitlines():
            yield decode(line)
