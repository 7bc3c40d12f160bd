"""Slurm's lists: node[0-3,7], /dev/nvidia[0-7], 0-2,5."""

import re
from itertools import product

MOST = 65_536  # of one list; a typing error must not fill the memory
_PART = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def expand(text: str) -> list[str]:
    """All names of a list, in its order. Raises ValueError."""
    return [name for part in _split(text) for name in _expand_one(part)]


def numbers(text: str) -> list[int]:
    """The numbers of "0-2,5". Raises ValueError."""
    return [int(number) for number in _range(text)]


def _split(text: str) -> list[str]:
    """At the commas outside of brackets."""
    return [part for part in re.split(r",(?![^\[]*\])", text) if part]


def _expand_one(text: str) -> list[str]:
    fixed = _PART.split(text)[::2]
    if any("[" in part or "]" in part for part in fixed):
        raise ValueError(f"{text!r} cannot be read; expected brackets that close, such as node[0-3,7]")
    choices = [_range(inside) for inside in _PART.findall(text)]
    size = 1
    for choice in choices:
        size *= len(choice)
    if size > MOST:
        raise ValueError(f"{text!r} names {size} things; expected at most {MOST}")
    return [
        "".join(part for pair in zip(fixed, (*chosen, ""), strict=True) for part in pair)
        for chosen in product(*choices)
    ]


def _range(text: str) -> list[str]:
    """With leading zeros as they are written."""
    found = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"{text!r} cannot be read; expected numbers and ranges such as 0-2,5")
        low, high = match[1], match[2] or match[1]
        if not int(low) <= int(high) < int(low) + MOST:
            raise ValueError(f"{part!r} of {text!r} cannot be read; expected a rising range")
        found += [f"{number:0{len(low)}d}" for number in range(int(low), int(high) + 1)]
    return found
