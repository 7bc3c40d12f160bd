"""gres.conf: which device file stands behind each of Slurm's numbers for a node's GPUs.

scontrol's IDX, SLURM_JOB_GPUS and SLURM_STEP_GPUS are all the same number, and it is neither a minor number nor a
vendor's index: with File=/dev/nvidia[2-7] number 0 is /dev/nvidia2. Slurm 22.05.8 counts by type in the order of the
node's Gres= and within a type in the order of gres.conf; it drops the files beyond a type's count and the types that
the node does not have. Where the node's Gres= names no type, those of gres.conf are ignored
(tests/data/slurm/numbers.json). With AutoDetect it sorts in ways that the files do not show.
"""

from collections.abc import Sequence
from re import fullmatch
from typing import NamedTuple

from fallow_proto.slurm.ranges import expand


class Line(NamedTuple):
    """Of GPUs. nodes empty: all. listed: the files are all there is to know."""

    nodes: frozenset[str]
    type: str
    files: tuple[str, ...]
    listed: bool


class GresConf(NamedTuple):
    lines: tuple[Line, ...]

    def minors(self, node: str, types: Sequence[tuple[str, int]] | None) -> list[int]:
        """The minor number behind each of Slurm's numbers, from 0. Raises ValueError where that is not certain.

        types: the node's Gres=, each type with its count, in order; None: not known, and then there may be but one.
        """
        lines = [line for line in self.lines if not line.nodes or node in line.nodes]
        if not lines or not all(line.listed for line in lines):
            raise ValueError(
                "gres.conf does not say which device files its GPUs are; set AutoDetect=off for it and list them, such "
                "as NodeName=… Name=gpu File=/dev/nvidia[0-7]"
            )
        minors = [_minor(file) for file in (_in_order(lines) if types is None else _counted(lines, types))]
        if len(set(minors)) < len(minors):
            raise ValueError(f"gres.conf lists a minor number twice: {minors}; expected each device once")
        return minors


def parse(text: str) -> GresConf:
    """Raises ValueError where a line is not understood."""
    lines: list[tuple[dict[str, str], bool | None]] = []
    everywhere = False
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        keys = _keys(number, line.partition("#")[0].split())
        detect = keys["autodetect"].lower() != "off" if "autodetect" in keys else None
        if "name" in keys or "file" in keys:
            if keys.get("name", "gpu").lower() == "gpu":
                lines.append((keys, detect))
        elif detect is not None and "nodename" not in keys:
            everywhere = detect
        elif detect:
            lines.append((keys, detect))
    return GresConf(tuple(_line(keys, everywhere if detect is None else detect) for keys, detect in lines))


def _keys(number: int, words: list[str]) -> dict[str, str]:
    if words and words[0].lower() == "include":
        raise ValueError(f"gres.conf line {number} includes another file; expected all lines in one file")
    keys = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"gres.conf line {number}: {word!r} cannot be read; expected Key=Value")
        keys[key.lower()] = value.strip('"')
    return keys


def _line(keys: dict[str, str], autodetect: bool) -> Line:
    files = tuple(expand(keys.get("file", "")))
    listed = bool(files) and not autodetect and "multiplefiles" not in keys
    return Line(frozenset(expand(keys.get("nodename", ""))), keys.get("type", ""), files, listed)


def _in_order(lines: list[Line]) -> list[str]:
    if len(kinds := {line.type for line in lines}) > 1:
        raise ValueError(
            f"Slurm counts GPUs by type in the order of the node's Gres= in slurm.conf, and gres.conf, which does not "
            f"say it, has {len(kinds)} types for this node"
        )
    return [file for line in lines for file in line.files]


def _counted(lines: list[Line], types: Sequence[tuple[str, int]]) -> list[str]:
    untyped = [kind for kind, _ in types] == [""]
    found: list[str] = []
    for kind, count in types:
        files = [file for line in lines if untyped or line.type == kind for file in line.files]
        if len(files) < count or not (kind or untyped):
            what = f"GPUs of type {kind}" if kind else "GPUs without a type"
            raise ValueError(f"Slurm has {count} {what} there, and gres.conf lists {len(files)} such device files")
        found += files[:count]
    return found


def _minor(file: str) -> int:
    found = fullmatch(r".*?(\d+)", file)
    if found is None:
        raise ValueError(f"device file {file!r} does not end in a minor number; expected such as /dev/nvidia0")
    return int(found[1])
