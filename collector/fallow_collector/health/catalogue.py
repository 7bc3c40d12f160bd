"""NVIDIA's codes: what each means, what NVIDIA says is to be done about it, and what follows for us.

The facts stand in xid.csv and sxid.csv. `immediate` and `investigatory` are NVIDIA's words, `linked_154` says that the
driver sends Xid 154 along, `cancels` is the code that is over when this one comes. `severity` and `action` are ours:
what costs a reset fails a device, what costs the program only degrades it, and where NVIDIA blames the program first it
is shown and changes nothing.
"""

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from fallow_collector.health.words import Action, Role, Severity
from fallow_proto.states import EventKind


class Entry(NamedTuple):
    code: int
    name: str
    architecture: str  # empty: any
    immediate: str
    investigatory: str
    severity: Severity
    action: Action
    role: Role
    linked_154: bool
    cancels: int | None
    source: str


def find(kind: str, code: int) -> Entry | None:
    """The entry of an Xid or SXid; None: the catalogue does not have it."""
    return _table(kind).get(code)


def entries(kind: str) -> Iterator[Entry]:
    return iter(_table(kind).values())


@cache
def _table(kind: str) -> Mapping[int, Entry]:
    name = {EventKind.XID: "xid.csv", EventKind.SXID: "sxid.csv"}[EventKind(kind)]
    with (files(__package__) / name).open(encoding="utf-8") as text:
        return {entry.code: entry for entry in map(_entry, csv.DictReader(text))}


def _entry(row: Mapping[str, str]) -> Entry:
    return Entry(
        int(row["code"]), row["name"], row.get("architecture", ""), row.get("immediate", ""),
        row.get("investigatory", ""), Severity(row["severity"]), Action(row["action"]),
        Role(row.get("role", Role.FAULT)), row.get("linked_154", "") == "yes",
        int(row["cancels"]) if row.get("cancels") else None, row["source"],
    )
