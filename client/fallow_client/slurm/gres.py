"""gres.conf: which device file stands behind each of Slurm's GPU indices.

Slurm numbers the GPUs of a node in the order of Gres= in slurm.conf by type, and within a type in the order of
gres.conf; with AutoDetect it sorts them by file name and PCI bus instead. So a node is understood only where every one
of these orders is the same, which is when AutoDetect is off and the files come in the order of their minor numbers.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from fallow_client.slurm.errors import SlurmError
from fallow_client.slurm.ranges import expand
from fallow_client.slurm.scontrol import Gres

_MINOR = re.compile(r".*?(\d+)")


class Line(NamedTuple):
    """One of Name=gpu. nodes empty: all."""

    nodes: frozenset[str]
    type: str
    files: tuple[str, ...]
    autodetect: bool


class GresConf(NamedTuple):
    lines: tuple[Line, ...]
    autodetect: bool  # for nodes that do not say

    def minors(self, node: str, gres: Iterable[Gres]) -> list[int]:
        """The minor number behind each index on a node with these GPUs configured. Raises SlurmError."""
        of_node = [line for line in self.lines if not line.nodes or node in line.nodes]
        if any(line.autodetect for line in of_node) or not any(line.files for line in of_node):
            raise SlurmError(
                "gres.conf does not say which device files its GPUs are; set AutoDetect=off for it and list them, such "
                "as NodeName=… Name=gpu File=/dev/nvidia[0-7]"
            )
        as_written = [file for line in of_node for file in line.files]
        types = list(dict.fromkeys(one.kind for one in gres))
        by_type = [
            file for kind in types for line in of_node if not kind or line.type in ("", kind) for file in line.files
        ]
        minors = [_minor(file) for file in as_written]
        if by_type != as_written or minors != sorted(set(minors)):
            raise SlurmError(
                "the order in which Slurm counts its GPUs is not certain: list them in gres.conf by rising number, "
                "types in the order of Gres= in slurm.conf"
            )
        if (count := sum(one.many for one in gres)) != len(minors):
            raise SlurmError(f"Slurm has {count} GPUs there, and gres.conf lists {len(minors)} device files")
        return minors


def parse(text: str) -> GresConf:
    """Raises SlurmError."""
    lines = []
    everywhere = False
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0].lower() == "include":
            raise SlurmError(f"gres.conf line {number} includes another file; expected all lines in one file")
        keys = {}
        for word in words:
            key, equals, value = word.partition("=")
            if not equals:
                raise SlurmError(f"gres.conf line {number}: {word!r} cannot be read; expected Key=Value")
            keys[key.lower()] = value
        detect = _detects(keys["autodetect"]) if "autodetect" in keys else None
        if "name" not in keys and "nodename" not in keys and detect is not None:
            everywhere = detect
        elif keys.get("name", "gpu").lower() == "gpu":
            lines.append((keys, detect))
    return GresConf(tuple(_line(keys, everywhere if detect is None else detect) for keys, detect in lines), everywhere)


def _line(keys: dict[str, str], autodetect: bool) -> Line:
    nodes, files = expand(keys.get("nodename", "")), expand(keys.get("file", ""))
    return Line(frozenset(nodes), keys.get("type", ""), tuple(files), autodetect)


def _detects(value: str) -> bool:
    return value.lower() != "off"


def _minor(file: str) -> int:
    found = _MINOR.fullmatch(file)
    if found is None:
        raise SlurmError(f"device file {file!r} does not end in a minor number; expected such as /dev/nvidia0")
    return int(found[1])
