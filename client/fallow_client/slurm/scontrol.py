"""What scontrol prints, read strictly: what is not understood is an error, never "nothing is used".

The formats are those of Slurm 22.05 to 25.05 with -d and -o; text that users choose (names and comments of jobs) comes
only into what is shown of a holder, never into what is taken.
"""

import re
from typing import NamedTuple

from fallow_client.slurm.errors import SlurmError
from fallow_proto.slurm.ranges import expand, numbers

_GRES = re.compile(r"(?P<name>\w+)(?::(?P<type>[^:(),]+))?:(?P<count>\d+)(?:\((?P<more>[^)]*)\))?")
_SHARED = re.compile(r"\b(?:mps|shard)(?::[^:(),]+)?:0*[1-9]\d*")  # what they take is not in the GPUs' own list
_SPLIT = re.compile(r",(?![^(]*\))")
_REASON = re.compile(r" Reason=(?P<text>.*?) \[(?P<user>[^@\]]*)@(?P<when>[^\]]*)\]")
_HELD = re.compile(r" Nodes=(?P<nodes>\S+) CPU_IDs=\S* Mem=\S* GRES=(?P<gres>\S*)")


class Gres(NamedTuple):
    """Some of a node's GPUs. indices: positions in Slurm's list of them, not minors; None: not told."""

    kind: str  # Slurm's type, empty without one
    many: int
    indices: tuple[int, ...] | None


class SlurmNode(NamedTuple):
    """problem: not empty where what is used cannot be told."""

    name: str
    states: frozenset[str]  # such as IDLE, DRAIN; upper case
    reason: str
    reason_user: str
    reason_time: str  # local time of Slurm's controller, as printed
    gres: tuple[Gres, ...]  # configured
    used: tuple[int, ...]  # indices
    problem: str


class SlurmJob(NamedTuple):
    """Where a job holds GPUs: (node, index). uid: None where it is not told."""

    job: str
    user: str
    holds: tuple[tuple[str, int], ...]
    uid: int | None = None


def gres_conf_path(config: str) -> str:
    """Of `scontrol show config`. gres.conf is always beside slurm.conf. Raises SlurmError."""
    found = re.search(r"^SLURM_CONF\s*=\s*(/\S*)/[^/\s]+$", config, re.MULTILINE)
    if found is None:
        raise SlurmError("scontrol show config does not name SLURM_CONF; is slurmctld of version 22.05 or newer?")
    return f"{found[1]}/gres.conf"


def nodes(text: str) -> list[SlurmNode]:
    """Of `scontrol show node -d -o`. Raises SlurmError unless every line is a node."""
    found = [_node(line) for line in text.splitlines() if line.strip()]
    if not found:
        raise SlurmError("scontrol show node printed no node; expected one a line")
    return found


def jobs(text: str) -> list[SlurmJob]:
    """Of `scontrol show job -d -o`: for people to see who holds a device, so what is odd is left out."""
    found = []
    for line in text.splitlines():
        job = re.match(r"JobId=(\d+)", line)
        user = re.search(r" UserId=([^(\s]+)\((\d+)\)", line)
        if job is not None:
            uid = int(user[2]) if user else None
            found.append(SlurmJob(job[1], user[1] if user else "", tuple(_holds(line)), uid))
    return found


def _node(line: str) -> SlurmNode:
    name, state = _value(line, "NodeName"), _value(line, "State")
    if not name or not state:
        raise SlurmError(f"scontrol show node printed {line[:80]!r}; expected a line with NodeName= and State=")
    reason = _REASON.search(line)
    try:
        configured = gres_of(_value(line, "Gres"))
        used = _used(_value(line, "GresUsed")) if configured else ()
        problem = ""
    except SlurmError as error:
        configured, used, problem = (), (), str(error)
    return SlurmNode(
        name, frozenset(re.sub(r"[*~#!%$@^-]+$", "", word).upper() for word in state.split("+")),
        reason["text"] if reason else "", reason["user"] if reason else "", reason["when"] if reason else "",
        configured, used, problem,
    )


def _value(line: str, key: str) -> str:
    found = re.search(rf"(?:^| ){key}=(\S*)", line)
    return found[1] if found else ""


def gres_of(text: str) -> tuple[Gres, ...]:
    """GPUs of a list such as gpu:h100:4(S:0-1),gpu:a100:2(IDX:4-5). Raises SlurmError."""
    if text in ("(null)", "N/A", ""):
        return ()
    found = []
    for part in _SPLIT.split(text):
        match = _GRES.fullmatch(part)
        if match is None:
            raise SlurmError(f"{part!r} of Gres {text!r} cannot be read; expected name:type:count")
        if match["name"] == "gpu":
            found.append(Gres(match["type"] or "", int(match["count"]), _indices(match["more"] or "")))
    return tuple(found)


def _used(text: str) -> tuple[int, ...]:
    """Indices of GresUsed. Raises SlurmError unless it names as many as it counts."""
    if text in ("(null)", "N/A", ""):
        raise SlurmError(f"GresUsed is {text or 'missing'}; expected such as gpu:h100:2(IDX:0-1)")
    if shared := _SHARED.search(text):
        raise SlurmError(f"parts of GPUs are in use ({shared[0]}), and which GPUs that takes is not told")
    found: list[int] = []
    for gres in gres_of(text):
        if gres.many and gres.indices is None:
            raise SlurmError(
                f"GresUsed is {text}, which does not say which GPUs; Slurm says it only of GPUs with a Type, so give "
                "them one in gres.conf and in the node's Gres="
            )
        if gres.many != len(gres.indices or ()):
            raise SlurmError(f"GresUsed is {text}, which counts {gres.many} and names {len(gres.indices or ())}")
        found += gres.indices or ()
    return tuple(found)


def _indices(more: str) -> tuple[int, ...] | None:
    given = more.removeprefix("IDX:")
    if given == more:
        return None
    try:
        return () if given == "N/A" else tuple(numbers(given))
    except ValueError as error:
        raise SlurmError(str(error)) from error


def _holds(line: str) -> list[tuple[str, int]]:
    holds = []
    for match in _HELD.finditer(line):
        try:
            names = expand(match["nodes"])
            indices = [index for gres in gres_of(match["gres"]) for index in gres.indices or ()]
        except (SlurmError, ValueError):
            continue
        holds += [(name, index) for name in names for index in indices]
    return holds
