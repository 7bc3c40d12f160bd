"""NVLink 5: Xids 144 to 150, decoded by unit, interrupt word and error status as NVIDIA's catalogue has them.

The facts stand in xid_nvlink5.csv. `resolution`, `investigatory` and `nvidia_severity` are NVIDIA's words; what costs
a reset fails the device, what NVIDIA ignores though it calls it fatal degrades it, and what is left to Xid 154 degrades
it until that comes. Drivers before R575 (`unit_v1`) number their units otherwise than later ones (`unit_v2`).
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from fallow_collector.health.words import Action, Severity

_LINE = re.compile(
    r"(?P<unit>[A-Z][A-Z0-9_/]{1,63}) (?P<fatal>Fatal|Non-?fatal) XC ?\d+ i ?\d+ Link (?P<link>-?\d+) "
    r"[(\[](?P<word>0x[0-9a-f]{1,8}) (?P<status>0x[0-9a-f]{1,8})\b", re.IGNORECASE,
)
_SUBCODE_SHIFT, _SUBCODE_BITS = 20, 6


class Row(NamedTuple):
    """units: names that drivers print; word patterns: the lowest bits, as text."""

    code: int
    units: frozenset[str]
    subcode: int
    unit_v1: str
    unit_v2: str
    status: int
    resolution: str
    investigatory: str
    nvidia_severity: str
    severity: Severity
    action: Action
    source: str


class Decoded(NamedTuple):
    row: Row
    unit: str
    link: int


def decode(code: int, message: str) -> Decoded | None:
    """None: the line does not have this form, or says what the catalogue does not.

    A row that is not fatal is not about a line that the driver calls fatal.
    """
    found = _LINE.search(" ".join(message.split()))
    if found is None:
        return None
    units, word, status = set(found["unit"].upper().split("/")), int(found["word"], 16), int(found["status"], 16)
    for row in _table().get(code, ()):
        if row.status == status and units & row.units and _fits(row, word):
            milder = row.severity is not Severity.FAILED and row.nvidia_severity.startswith("Non-fatal")
            return None if milder and found["fatal"].lower() == "fatal" else Decoded(
                row, found["unit"], int(found["link"])
            )
    return None


def rows() -> Iterator[Row]:
    for of_code in _table().values():
        yield from of_code


def _fits(row: Row, word: int) -> bool:
    if word >> _SUBCODE_SHIFT & (1 << _SUBCODE_BITS) - 1 != row.subcode:
        return False
    return any(word & (1 << len(unit)) - 1 == int(unit, 2) for unit in (row.unit_v1, row.unit_v2))


@cache
def _table() -> Mapping[int, Sequence[Row]]:
    found: defaultdict[int, list[Row]] = defaultdict(list)
    with (files(__package__) / "xid_nvlink5.csv").open(encoding="utf-8") as text:
        for row in map(_row, csv.DictReader(text)):
            found[row.code].append(row)
    return found


def _row(row: Mapping[str, str]) -> Row:
    return Row(
        int(row["code"]), frozenset(row["unit"].split("/")), int(row["subcode"], 2), row["unit_v1"], row["unit_v2"],
        int(row["status"], 16), row["resolution"], row["investigatory"], row["nvidia_severity"],
        Severity(row["severity"]), Action(row["action"]), row["source"],
    )
