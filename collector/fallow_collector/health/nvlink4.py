"""NVLink before 5: Xid 74, decoded by the bits of the registers that its line ends with, one row of them a link.

The facts stand in xid_nvlink4.csv. NVIDIA says what the bits mean for Hopper only; of the seven registers the first,
third, fourth and fifth count there.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from fallow_collector.health.meaning import Again
from fallow_collector.health.rules import matches
from fallow_collector.health.words import Action, Role, Severity, weight

HOPPER = ("*H100*", "*H200*", "*H800*", "*H20*", "*GH200*")
COUNTED = (0, 2, 3, 4)
"""Registers whose bits mean something."""

_LINE = re.compile(r"\blink (?P<link>\d+) ?\((?P<words>0x[0-9a-f]{1,8}(?:, ?0x[0-9a-f]{1,8}){6})\)", re.IGNORECASE)


class Bit(NamedTuple):
    """role: a cleanup follows on other errors, and counts only alone. again: where it counts that it comes back."""

    register: int
    bit: int
    meaning: str
    role: Role
    severity: Severity
    action: Action
    again: Again | None
    source: str


class Decoded(NamedTuple):
    bit: Bit
    link: int


def decode(model: str, message: str) -> Decoded | None:
    """The worst bit of a line; None: another architecture, another form, or no bit is set."""
    found = _LINE.search(message) if matches(model, HOPPER) else None
    if found is None:
        return None
    words = [int(word, 16) for word in found["words"].split(",")]
    bits = [
        _table().get((register, bit)) or _unnamed(register, bit)
        for register in COUNTED for bit in range(32) if words[register] >> bit & 1
    ]
    own = [bit for bit in bits if bit.role is not Role.CLEANUP and bit.severity is not Severity.INFO]
    worst = max(own or bits, key=lambda bit: weight(bit.severity, bit.action), default=None)
    return None if worst is None else Decoded(worst, int(found["link"]))


def bits() -> Sequence[Bit]:
    return tuple(_table().values())


def _unnamed(register: int, bit: int) -> Bit:
    """NVIDIA wants to be told of any other."""
    return Bit(
        register, bit, f"bit {bit} of register {register + 1}, which NVIDIA does not name", Role.FAULT,
        Severity.DEGRADED, Action.CONTACT_VENDOR, None, "",
    )


@cache
def _table() -> Mapping[tuple[int, int], Bit]:
    with (files(__package__) / "xid_nvlink4.csv").open(encoding="utf-8") as text:
        return {(bit.register, bit.bit): bit for bit in map(_bit, csv.DictReader(text))}


def _bit(row: Mapping[str, str]) -> Bit:
    again = Again(int(row["times"]), Action(row["then"])) if row["times"] else None
    return Bit(
        int(row["register"]), int(row["bit"]), row["meaning"], Role(row["role"]), Severity(row["severity"]),
        Action(row["action"]), again, row["source"],
    )
