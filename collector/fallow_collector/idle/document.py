"""The axes, the table of phases and the table of reasons as Markdown, printed from the code that judges by them.

    python -m fallow_collector.idle.document
"""

import sys
from collections.abc import Iterable, Sequence

from fallow_collector.idle import phase
from fallow_collector.idle.reasons import REASONS
from fallow_proto.states import Occupancy

_OCCUPANCY = {
    phase.UNKNOWN: "unknown",
    phase.BRIEFLY_ACTIVE: "active (for less than `unmanaged_s`)",
    phase.ACTIVE: "active",
    phase.BRIEFLY_RESIDENT: "resident (for less than `unmanaged_s`)",
    phase.RESIDENT: "resident",
    phase.QUIET: "quiet",
    phase.CONFIRMED: "confirmed",
}
"""As they are judged: two of the axis' words have a first, short while of their own."""


def document() -> str:
    """Three sections, with a newline at the end."""
    sections = (("The axes", _axes()), ("Phases", _phases()), ("Reasons", _reasons()))
    return "\n".join("\n".join([f"## {title}", "", *lines, ""]) for title, lines in sections)


def _axes() -> Iterable[str]:
    axes: tuple[tuple[str, Sequence[str]], ...] = (
        ("allocation", phase.ALLOCATIONS), ("freshness", phase.FRESHNESSES), ("health", phase.HEALTHS),
        ("service", phase.SERVICES), ("occupancy", tuple(Occupancy)),
    )
    return table(("axis", "words"), ((axis, " · ".join(f"`{word}`" for word in words)) for axis, words in axes))


def _phases() -> Iterable[str]:
    head = ("", "phase", "allocation", "freshness", "health", "service", "occupancy")
    return table(head, (
        (
            str(number), f"**{row.phase}**", _any(row.allocation), _any(row.freshness), _any(row.health),
            _any(row.service), _any([_OCCUPANCY[code] for code in row.occupancy]),
        )
        for number, row in enumerate(phase.TABLE, 1)
    ))


def _reasons() -> Iterable[str]:
    return table(("reason", "means", "goes when"), (
        (f"`{reason.name}`", reason.means, reason.next) for reason in REASONS
    ))


def _any(words: Sequence[str]) -> str:
    return " or ".join(words) or "any"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """Lines of a table in Markdown."""
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(document())
