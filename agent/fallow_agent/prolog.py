"""`fallow-agent prolog`: may a job start on these devices, as far as this node knows?

It refuses only on proof: what the agent shows in fences.json says that somebody else was given a device later. Whatever
else may be wrong (no file, an old one, a device that it does not name) lets the job start, because a node whose jobs
start only while Fallow runs is worse than one that Fallow does not guard. Imports little: a launcher waits for it.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from fallow_proto.slurm import gres, ranges

RUN_DIR = "/run/fallow"
FILE = "fences.json"
VERSION = 1

STALE_S = 180.0
"""The agent writes its file at least once a minute. An older one still proves that a lower token has lost the device,
for tokens only rise; who holds a device now, nobody knows."""

_TOKEN_IN_COMMENT = re.compile(r"\bfallow-token=(\d+)\b")
_DESCRIPTION = """\
Says whether a job may start on devices of this node: exit status 1 if somebody else was given one of them later, and 0
in every other case, with a note on standard error. Needs no configuration, no collector and no running agent.

A job is told from others by its lease's fencing token: --token, else "fallow-token=N" in the job's comment (Slurm:
sbatch --comment; its Prolog has it as SLURM_JOB_COMMENT, seen with 22.05). A job without one may not start on a device
that a lease holds. Devices: as named here, else the ones of SLURM_JOB_GPUS (Prolog) or SLURM_STEP_GPUS (task prolog).
Slurm counts those in an order of its own: they are translated by the gres.conf beside $SLURM_CONF, and where that
leaves a doubt (AutoDetect, no File=, several types) nothing is refused. A Prolog has no PATH: write the full one.
"""

Row = Mapping[str, Any]
"""One device of fences.json."""


class Wanted(NamedTuple):
    """One device as it was named: by "uuid", "minor" or "pci_bus_id"."""

    by: str
    value: str | int

    def __str__(self) -> str:
        return f"{self.by} {self.value}"


class Shown(NamedTuple):
    """fences.json. age_s: since it was written."""

    devices: Mapping[str, Row]
    age_s: float


class Verdict(NamedTuple):
    """refusals: why the job may not start; none: it may. notes: what could not be told."""

    refusals: list[str]
    notes: list[str]


class Unreadable(Exception):
    """A file that is needed cannot be used; the message says why."""


def judge(shown: Shown, wanted: Iterable[Wanted], token: int | None) -> Verdict:
    """token: the job's; None: it has none."""
    verdict = Verdict([], [])
    stale = abs(shown.age_s) > STALE_S
    if stale and token is None:
        verdict.notes.append(f"the agent has not written for {shown.age_s:.0f} s; does it run? Held devices are let go")
    for one in wanted:
        found = [uuid for uuid, row in shown.devices.items() if _is(one, uuid, row)]
        if len(found) != 1:
            what = "is not known to Fallow" if not found else f"may be any of {', '.join(found)}"
            verdict.notes.append(f"device with {one} {what}")
            continue
        row = shown.devices[found[0]]
        if not row["held"] or (stale if token is None else row["token"] <= token):
            continue
        yours = "without a token" if token is None else f"with token {token}"
        verdict.refusals.append(
            f"device {found[0]} ({one}) is held by {row['holder'] or 'nobody named'} with token {row['token']} "
            f"(lease {row['lease_id'] or 'not named'}), and this job comes {yours}; "
            f"reserve the device again and start with the new lease's token, or look at it with "
            f"`fallow device {found[0]}`"
        )
    return verdict


def read(path: str, now: float) -> Shown:
    """now: unix seconds. Raises Unreadable."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  # pathlib costs more than all that is done here
            content = json.load(file)
            age_s = now - os.fstat(file.fileno()).st_mtime
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}; does fallow-agent run here?") from error
    except ValueError as error:
        raise Unreadable(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise Unreadable(f"{path} is not of version {VERSION}; are this command and the agent of one release?")
    devices = content.get("devices")
    if not isinstance(devices, dict) or not all(map(_is_row, devices.values())):
        raise Unreadable(f"{path} is not what an agent of version {VERSION} writes")
    return Shown(devices, age_s)


def named_by_slurm(environment: Mapping[str, str]) -> list[Wanted]:
    """The devices of a prolog's environment. Raises ValueError or Unreadable where they cannot be told."""
    listed = environment.get("SLURM_JOB_GPUS") or environment.get("SLURM_STEP_GPUS") or ""
    if not listed:
        return []
    minors = _gres_conf(environment.get("SLURM_CONF", "")).minors(environment.get("SLURMD_NODENAME", ""), None)
    wanted = ranges.numbers(listed)
    if max(wanted) >= len(minors):
        raise ValueError(f"Slurm's device {max(wanted)} is not among the {len(minors)} of gres.conf")
    return [Wanted("minor", minors[number]) for number in wanted]


def token_of(option: str | None, comment: str) -> int | None:
    """The job's token; None when it has none, or none that can be read."""
    if option is not None:
        return int(option) if option.isascii() and option.isdigit() else None
    found = _TOKEN_IN_COMMENT.search(comment)
    return int(found[1]) if found else None


def main(arguments: Sequence[str]) -> int:
    try:
        options = _parser().parse_args(arguments)
        wanted = [
            *(Wanted("uuid", uuid) for uuid in options.device),
            *(Wanted("minor", minor) for minor in options.minor),
            *(Wanted("pci_bus_id", _spelled(address)) for address in options.pci),
        ] or named_by_slurm(os.environ)
        if not wanted:
            return _let_go("no device is named")
        token = token_of(options.token, os.environ.get("SLURM_JOB_COMMENT", ""))
        verdict = judge(read(os.path.join(options.run_dir, FILE), time.time()), wanted, token)  # noqa: PTH118
    except Unreadable as problem:
        return _let_go(str(problem))
    except ValueError as error:
        return _let_go(str(error))
    except Exception as error:  # noqa: BLE001  # a launcher that fails for our mistake takes its node out of service
        return _let_go(f"{type(error).__name__}: {error}")
    for note in verdict.notes:
        _say(note)
    for refusal in verdict.refusals:
        _say(refusal)
    return 1 if verdict.refusals else 0


class _Parser(argparse.ArgumentParser):
    """A mistake on the command line is no proof either."""

    def error(self, message: str) -> NoReturn:
        self.exit(_let_go(f"{message}; see fallow-agent prolog --help"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fallow-agent prolog", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--token", metavar="N", help="fencing token of the job's lease")
    parser.add_argument("--device", action="append", default=[], metavar="UUID", help="may be given several times")
    parser.add_argument("--minor", action="append", default=[], metavar="N", type=int, help="as N of /dev/nvidiaN")
    parser.add_argument("--pci", action="append", default=[], metavar="ADDR", help="e.g. 0000:17:00.0")
    parser.add_argument(
        "--run-dir", default=os.environ.get("FALLOW_AGENT_READERS__RUN_DIR", RUN_DIR), metavar="DIR",
        help="the agent's readers.run_dir (default %(default)s)",
    )
    return parser


def _gres_conf(slurm_conf: str) -> gres.GresConf:
    path = os.path.join(os.path.dirname(slurm_conf), "gres.conf")  # noqa: PTH118, PTH120
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            return gres.parse(file.read())
    except OSError as error:
        raise Unreadable(
            f"{path} cannot be read: {error.strerror}; which devices Slurm's numbers mean is written there, beside "
            f"SLURM_CONF={slurm_conf}"
        ) from error


def _is(wanted: Wanted, uuid: str, row: Row) -> bool:
    return (uuid if wanted.by == "uuid" else row[wanted.by]) == wanted.value


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or not {"token", "held", "lease_id", "holder", "minor", "pci_bus_id"} <= row.keys():
        return False
    token, held = row["token"], row["held"]
    return isinstance(held, bool) and (type(token) is int or (token is None and not held))


def _spelled(address: str) -> str:
    """As the kernel spells it: nvidia-smi prints eight digits of domain, lspci perhaps none."""
    domain, _, rest = address.lower().rpartition(":")[0].rpartition(":")
    return f"{int(domain or '0', 16):04x}:{rest}:{address.lower().rpartition(':')[2]}"


def _let_go(why: str) -> int:
    _say(f"nothing was checked, the job may start: {why}")
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"fallow-agent prolog: {text}\n")
