"""Which device files Slurm's own device numbers mean.

SLURM_JOB_GPUS, SLURM_STEP_GPUS and scontrol's IDX count the devices of gres.conf from 0, in the order of its lines:
with File=/dev/nvidia[2-7] number 0 is /dev/nvidia2 (seen with Slurm 22.05.8). They are neither minor numbers nor the
vendor's indices, though on most nodes all three are the same.
"""

import re
from collections.abc import Iterator

_PART = re.compile(r"((?:[^,\[]|\[[^\]]*\])+)")  # between commas that are in no brackets
_BRACKETS = re.compile(r"\[([^\]]*)\]")
_LAST_NUMBER = re.compile(r"(\d+)$")


def minors_of(gres_conf: str, node: str) -> list[int] | None:
    """The minor number of each of Slurm's numbers, from 0. None: gres.conf does not say which files a node has."""
    minors = []
    for facts in _lines(gres_conf):
        if facts.get("name", "").lower() != "gpu" or node not in expanded(facts.get("nodename", node)):
            continue
        found = [_LAST_NUMBER.search(path) for path in expanded(facts.get("file", ""))]
        if not found or None in found:
            return None
        minors += [int(number[1]) for number in found if number]
    return minors or None


def numbers(listed: str) -> list[int]:
    """Of "0,1,4-7". Raises ValueError."""
    return [int(number) for number in expanded(f"[{listed}]")] if listed else []


def expanded(expression: str) -> list[str]:
    """Slurm's short form of many names: "node[01-02,7],login" is node01, node02, node7, login. Raises ValueError."""
    return [name for part in _PART.findall(expression) for name in _expanded_part(part)]


def _expanded_part(part: str) -> Iterator[str]:
    found = _BRACKETS.search(part)
    if found is None:
        yield part
        return
    for choice in found[1].split(","):
        first, _, last = choice.partition("-")
        for number in range(int(first), int(last or first) + 1):
            yield from _expanded_part(f"{part[:found.start()]}{number:0{len(first)}}{part[found.end():]}")


def _lines(gres_conf: str) -> Iterator[dict[str, str]]:
    """Each line's keys, in lower case, with their values."""
    for line in gres_conf.replace("\\\n", " ").splitlines():
        words = [word.partition("=") for word in line.partition("#")[0].split()]
        yield {key.lower(): value.strip('"') for key, equals, value in words if equals}
