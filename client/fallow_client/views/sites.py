"""How complete an answer of several collectors is."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from fallow_client.across import Across
from fallow_client.views.text import age, plain


def heading(site: str) -> Text:
    return Text(f"at {plain(site)}", style="bold underline")


def standing(found: Across[Any]) -> Iterator[RenderableType]:
    """How many answered, and a line for each that did not, or not completely."""
    whole = "complete" if found.complete else "INCOMPLETE"
    yield Text(f"{len(found.answers)} of {len(found.sites)} collectors answered, {whole}")
    for one in found.sites:
        if one.error:
            yield Text(f"{plain(one.site)}: MISSING: {plain(one.error)}", style="red")
        elif not one.complete:
            evidence = f", oldest evidence {age(one.max_age_ms)} s" if one.max_age_ms is not None else ""
            yield Text(f"{plain(one.site)}: INCOMPLETE{evidence}", style="yellow")
