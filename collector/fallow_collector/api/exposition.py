"""Prometheus' text format, version 0.0.4
(https://prometheus.io/docs/instrumenting/exposition_formats/). What is not known (NaN) is left out, never 0.
"""

from collections.abc import Iterable, Mapping
from math import inf, isnan
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4"  # the framework adds the charset


class Sample(NamedTuple):
    name: str
    kind: str  # "gauge" or "counter"
    help: str
    labels: Mapping[str, str]
    value: float


def render(samples: Iterable[Sample]) -> bytes:
    """Samples as text; those of one name are put together, as the format demands, under the first one's help."""
    families: dict[str, list[str]] = {}
    for sample in samples:
        if isnan(sample.value):
            continue
        family = families.setdefault(sample.name, [
            f"# HELP {sample.name} {_escape_help(sample.help)}\n# TYPE {sample.name} {sample.kind}\n",
        ])
        family.append(f"{sample.name}{_labels(sample.labels)} {_number(sample.value)}\n")
    return "".join(line for family in families.values() for line in family).encode()


def escape(value: str) -> str:
    """A label's value as it stands between the quotes."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _labels(labels: Mapping[str, str]) -> str:
    """An empty label is the same as none."""
    pairs = ",".join(f'{name}="{escape(value)}"' for name, value in labels.items() if value)
    return f"{{{pairs}}}" if pairs else ""


def _escape_help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
