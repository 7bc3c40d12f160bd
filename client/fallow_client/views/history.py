"""Time series of one device."""

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import RenderableType
from rich.text import Text

from fallow_client.views.table import add, table
from fallow_client.views.text import label_of, metric
from fallow_proto import api


def history(answer: api.History) -> Iterator[RenderableType]:
    """A row for each moment, oldest first."""
    names = answer.columns[1:]
    made = table("time UTC", *(f">{label_of(name)}" for name in names))
    for time, *values in answer.rows:
        add(made, (_moment(time), *(metric(name, value) for name, value in zip(names, values, strict=True))))
    yield made
    yield Text("")
    yield Text(f"{len(answer.rows)} rows" if answer.rows else "no rows: nothing is stored of that time")


def _moment(time: float | None) -> str:
    if time is None:
        return ""
    return datetime.fromtimestamp(time, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")
