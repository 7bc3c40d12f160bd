"""The same comparison for a simulated fleet, which tells how many reports each node made and was told are stored.

A reading is what one device said at one moment: as a number, the device's times 2^48 and milliseconds.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import duckdb

from tests.faults.audit import ENERGY, Verdict, audit, parts_of_store, uuids_of_series


class Told(NamedTuple):
    """A line of `fallow-sim --acked`."""

    devices: list[str]
    first: float  # unix seconds
    interval_s: float
    made: int
    acked: list[tuple[int, int]]


def audit_of_fleet(acked: Path, store: Path) -> Verdict:
    """acked: the file of a simulator that has ended; store: of a collector that has."""
    nodes = [Told(**json.loads(line)) for line in acked.read_text(encoding="utf-8").splitlines()]
    numbers = {uuid: number for number, uuid in enumerate(uuid for node in nodes for uuid in node.devices)}
    return audit(
        made=(one for node in nodes for one in _readings(node, [(1, node.made)], numbers)),
        stored=_stored(store, numbers),
        owed=(one for node in nodes for one in _readings(node, node.acked, numbers)),
    )


def _readings(node: Told, ranges: Iterable[tuple[int, int]], numbers: dict[str, int]) -> Iterator[int]:
    for lo, hi in ranges:
        for seq in range(lo, hi + 1):
            time_ms = round((node.first + (seq - 1) * node.interval_s) * 1000)
            yield from (_reading(numbers[uuid], time_ms) for uuid in node.devices)


def _stored(store: Path, numbers: dict[str, int]) -> Iterator[int]:
    uuids = uuids_of_series(store)
    with closing(duckdb.connect()) as engine:
        for part in parts_of_store(engine, store):
            if ENERGY in part.columns:  # in the group of which every report has a row; some have one of another beside
                query = f"SELECT series, {part.time_ms} FROM {part.table} WHERE isfinite({ENERGY})"
                rows = engine.execute(query).fetchall()
                yield from (_reading(numbers[uuids[series]], time_ms) for series, time_ms in rows)


def _reading(device: int, time_ms: int) -> int:
    return (device << 48) + time_ms
