"""What a run of the fault suite prints: a row for each fault. `make faults` runs the long form and shows the table."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.faults.audit import Verdict

FILE = "FALLOW_FAULTS_TABLE"
LONG = os.environ.get("FALLOW_FAULTS", "") == "long"


class Row(NamedTuple):
    """made: readings; stored: rows; lost: owed and not stored; doubled: stored twice; None: does not apply.
    recovery_s: the longest time until all was well again."""

    fault: str
    cycles: int
    made: int | None = None
    stored: int | None = None
    lost: int | None = None
    doubled: int | None = None
    recovery_s: float | None = None


def cycles(short: int, long: int) -> int:
    """How often a fault is made to happen: `long` under `make faults`."""
    return long if LONG else short


def row_of(fault: str, cycles: int, found: Iterable[Verdict], recovery_s: float | None = None) -> Row:
    """One row of what the audits of all nodes found."""
    found = list(found)
    return Row(
        fault, cycles, made=sum(each.made for each in found), stored=sum(each.stored for each in found),
        lost=sum(len(each.lost) for each in found), doubled=sum(len(each.doubled) for each in found),
        recovery_s=recovery_s,
    )


def record(row: Row) -> None:
    """Into the table, if somebody makes one."""
    if path := os.environ.get(FILE):
        with Path(path).open("a", encoding="utf-8") as table:  # one write: workers append beside each other
            table.write(json.dumps(row._asdict()) + "\n")


def rendered(rows: Iterable[Row]) -> str:
    lines: list[tuple[str, ...]] = [("fault", "cycles", "made", "stored", "lost", "doubled", "recovery")]
    for row in sorted(rows):
        counts = (row.cycles, row.made, row.stored, row.lost, row.doubled)
        recovery = "-" if row.recovery_s is None else f"{row.recovery_s:.1f} s"
        lines.append((row.fault, *("-" if count is None else f"{count:,}" for count in counts), recovery))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(cells))
        for cells in (tuple(zip(line, widths, strict=True)) for line in lines)
    )


if __name__ == "__main__":
    print(rendered(Row(**json.loads(line)) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()))
