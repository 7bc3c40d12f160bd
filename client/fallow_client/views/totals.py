"""Devices, memory and FLOPS, summed by what was asked for."""

from collections.abc import Iterator

from msgspec import UNSET
from rich.console import RenderableType
from rich.text import Text

from fallow_client.views.table import add, table
from fallow_client.views.text import GIB, number, plain, standing
from fallow_proto import api

_PETA = 1e-15


def totals(answer: api.Totals) -> Iterator[RenderableType]:
    """A line for each sum, what the sums lack, and how good the answer is."""
    unit = "POP/s" if answer.precision == "int8" else "PFLOPS"
    made = table(*answer.by, ">idle", ">devices", ">idle GiB", f">idle {unit}", f">{unit}")
    for total in answer.totals:
        add(made, (
            *(_word(total, name) for name in answer.by), str(total.idle), str(total.devices),
            number(total.idle_memory_bytes, GIB), number(total.idle_flops.flops, _PETA, 2),
            number(total.flops.flops, _PETA, 2),
        ))
    yield made
    yield Text("")
    yield Text(f"{unit} are {answer.density} peaks at {answer.precision}; classes are not added to one another")
    for total in answer.totals:
        if lacking := _lacking(total):
            yield Text(f"{', '.join(_word(total, name) for name in answer.by)}: not known of {lacking}")
    yield Text(standing(answer.as_of, answer.complete, answer.max_age_ms, answer.incomplete_by))


def _word(total: api.Total, name: str) -> str:
    word = getattr(total, "device_class" if name == "class" else name)
    if name == "domestic":
        return {True: "domestic", False: "foreign"}.get(word, "unknown")
    return plain(None if word is UNSET else word)


def _lacking(total: api.Total) -> str:
    """Devices that the sums leave out."""
    parts = (
        (total.idle_memory_unknown, "the free memory of {} idle"), (total.idle_flops.unknown, "the peak of {} idle"),
        (total.flops.unknown, "the peak of {} in all"),
    )
    return ", ".join(text.format(devices) for devices, text in parts if devices)
