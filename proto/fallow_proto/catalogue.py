"""The chip catalogue: what a model can do and what it draws when idle, by the name that its driver prints.

Facts and their sources are in chips.csv. A figure that its source does not give is NaN, and a model that is not listed
is unknown: a name that only resembles a listed one matches nothing. Left out are packages of several chips and
announced chips, since no driver prints their names.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import isnan, nan

PRECISIONS = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8")
VECTOR = ("fp64", "fp32")
"""Precisions whose rates are those of the vector units, which have no sparsity; the others are of matrix units."""

_ASKED = {"fp16": ("fp16", "bf16")}
"""A chip without FP16 is asked for BF16, which takes the same place in training; nothing else stands in."""

_IDLE_SPREAD = 1.25
"""Boards, drivers and temperatures differ from those that were measured; 1.25 x 60 W gives the share of A100s at
utilization 0 (AcmeTrace)."""

_NAMES = {
    "amd": ("amd",), "ascend": ("huawei",), "aws": ("aws",), "biren": ("biren",), "cambricon": ("cambricon",),
    "enflame": ("enflame",), "google": ("google",), "hygon": ("hygon",), "iluvatar": ("iluvatar",),
    "intel": ("intel(r)", "intel"), "kunlunxin": ("kunlunxin",), "metax": ("metax",), "mthreads": ("moorethreads",),
    "nvidia": ("nvidia",), "thead": ("t-head",), "vastai": ("vastai",),
}
"""Vendors as readers name them, and what drivers may print in front of a model."""


@dataclass(frozen=True, slots=True, eq=False)
class Chip:
    """One model as it is enumerated. Bytes, watts, FLOP/s (int8: OP/s); NaN where not known.

    peaks: by precision, of any density; use peak_flops. density: "dense", "sparse" or "unknown", of the matrix rates,
    "" without any; density_by: how that was decided. idle_watts, idle_memory_bytes: the most that was seen of boards
    that did nothing, by idle_source.
    """

    vendor: str
    model: str
    domestic: bool  # its vendor is Chinese
    memory_bytes: float  # as the vendor names it; drivers show a little less
    tdp_watts: float
    peaks: Mapping[str, float]
    density: str
    density_by: str
    idle_watts: float
    idle_memory_bytes: float
    idle_source: str
    source: str

    def peak_flops(self, precision: str) -> float:
        """Dense peak; NaN where only a rate with sparsity, or one that does not say, is known."""
        for name in _ASKED.get(precision, (precision,)):
            if not isnan(self.peaks[name]) and (name in VECTOR or self.density == "dense"):
                return self.peaks[name]
        return nan

    @property
    def idle_power_max_watts(self) -> float:
        """Upper end of the idle range."""
        return _IDLE_SPREAD * self.idle_watts

    @property
    def base_memory_max_bytes(self) -> float:
        """The most that is in use while nothing runs."""
        return _IDLE_SPREAD * self.idle_memory_bytes


def find(vendor: str, model: str, power_limit_watts: float = nan) -> Chip | None:
    """The chip that a driver prints like this; None: not in the catalogue.

    Where one name stands for several boards the power limit tells which, if it is one's TDP; else only what is the
    same of all of them is known.
    """
    chips = variants(vendor, model)
    if len(chips) > 1:
        return next((chip for chip in chips if chip.tdp_watts == power_limit_watts), _common(chips))
    return chips[0] if chips else None


def variants(vendor: str, model: str) -> tuple[Chip, ...]:
    """The chips whose driver prints this name: mostly one, or none."""
    return _by_alias().get((vendor, _normal(vendor, model)), ())


def peak_flops(vendor: str, model: str, precision: str, power_limit_watts: float = nan) -> float:
    """Dense peak in FLOP/s (int8: OP/s), NaN where not known; precision: one of PRECISIONS, else KeyError.

    fp16 is bf16 on a chip without FP16; nothing else stands in for what is asked.
    """
    if precision not in PRECISIONS:
        raise KeyError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    chip = find(vendor, model, power_limit_watts)
    return nan if chip is None else chip.peak_flops(precision)


def chips() -> Iterator[Chip]:
    """All of them, in the order of the table."""
    return iter(dict.fromkeys(chip for found in _by_alias().values() for chip in found))


def _normal(vendor: str, model: str) -> str:
    name = "".join(model.casefold().split())
    for prefix in _NAMES.get(vendor, ()):
        if name.startswith(prefix) and name != prefix:
            return name.removeprefix(prefix)
    return name


def _common(chips: Sequence[Chip]) -> Chip:
    first = chips[0]
    return Chip(
        vendor=first.vendor,
        model=" or ".join(chip.model for chip in chips),
        domestic=first.domestic,
        memory_bytes=_same([chip.memory_bytes for chip in chips]),
        tdp_watts=_same([chip.tdp_watts for chip in chips]),
        peaks={name: _same([chip.peaks[name] for chip in chips]) for name in PRECISIONS},
        density=first.density if len({chip.density for chip in chips}) == 1 else "unknown",
        density_by="; ".join(dict.fromkeys(chip.density_by for chip in chips)),
        idle_watts=_same([chip.idle_watts for chip in chips]),
        idle_memory_bytes=_same([chip.idle_memory_bytes for chip in chips]),
        idle_source="; ".join(dict.fromkeys(chip.idle_source for chip in chips if chip.idle_source)),
        source="; ".join(dict.fromkeys(chip.source for chip in chips)),
    )


def _same(numbers: Sequence[float]) -> float:
    return numbers[0] if len(set(numbers)) == 1 else nan


@cache
def _by_alias() -> dict[tuple[str, str], tuple[Chip, ...]]:
    found: dict[tuple[str, str], tuple[Chip, ...]] = {}
    with (files(__package__) / "chips.csv").open(encoding="utf-8") as text:
        for row in csv.DictReader(text):
            chip = _chip(row)
            for alias in row["aliases"].split(";"):
                key = (chip.vendor, _normal(chip.vendor, alias))
                if chip not in found.get(key, ()):
                    found[key] = (*found.get(key, ()), chip)
    return found


def _chip(row: Mapping[str, str]) -> Chip:
    return Chip(
        vendor=row["vendor"], model=row["model"], domestic=row["domestic"] == "true",
        memory_bytes=_number(row["memory_gib"], 2**30), tdp_watts=_number(row["tdp_watts"]),
        peaks={
            name: _number(row[f"{name}_tops" if name == "int8" else f"{name}_tflops"], 1e12) for name in PRECISIONS
        },
        density=row["density"], density_by=row["density_by"],
        idle_watts=_number(row["idle_watts"]), idle_memory_bytes=_number(row["idle_memory_mib"], 2**20),
        idle_source=row["idle_source"], source=row["source"],
    )


def _number(cell: str, unit: float = 1.0) -> float:
    return float(cell) * unit if cell else nan
