"""The one look of all tables."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

PHASE_STYLE = {
    "idle": "green", "verifying": "cyan", "unmanaged": "magenta", "leased": "blue", "reserved": "blue",
    "releasing": "blue", "absent": "red", "unknown": "yellow", "faulty": "red",
}


def table(*columns: str) -> Table:
    """A table without lines; a column whose header begins with > holds numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for header in columns:
        made.add_column(
            Text(header.removeprefix(">")), justify="right" if header.startswith(">") else "left",
            overflow="fold",
        )
    return made


def add(made: Table, cells: Iterable[str | Text]) -> None:
    """A row; text is shown as it is, never read as markup."""
    made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))


def pairs(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Names and values, one pair a line."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, show_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        add(made, (name, value))
    return made


def phase(word: str, confidence: str = "high") -> Text:
    """The phase, and that an idle device is so with low confidence only."""
    low = " (low)" if word == "idle" and confidence == "low" else ""
    return Text(word + low, style=PHASE_STYLE.get(word, ""))
