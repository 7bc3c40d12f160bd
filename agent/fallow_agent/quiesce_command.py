"""Have the agent of this node let go of every vendor's devices for a while, so that a driver can be unloaded or a board
reset. Needs no collector; root or the agent's user may.
"""

import argparse
import getpass
import math
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fallow_agent import config, locked, prolog, quiesce, run_dir
from fallow_agent.errors import AgentError, QuiesceError
from fallow_agent.quiesce import Answer, Order
from fallow_agent.readers.registry import VENDORS
from fallow_agent.sampling import boot_clock

EXIT_FAILURE = 1
ANSWER_S = 5.0  # for an agent that looks once a second
NOBODY_S = 1.5  # an agent whose spool is in memory holds no lock
LOOK_S = 0.05
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Place(NamedTuple):
    run_dir: Path
    spool_lock: Path

    @property
    def order(self) -> Path:
        return self.run_dir / quiesce.ORDER

    @property
    def answer(self) -> Path:
        return self.run_dir / quiesce.ANSWER


def main(words: Sequence[str]) -> int:
    options = _parser().parse_args(words)
    try:
        settings = config.read(options.config)
        folder = run_dir.chosen(settings.readers.run_dir, os.environ.get("XDG_RUNTIME_DIR", ""))
        place = Place(folder, Path(settings.spool.dir) / "lock")
        if options.what == "resume":
            return _resume(place)
        # A read that is under way has its deadline, and letting go as long again.
        patience_s = ANSWER_S + 2 * settings.readers.deadline_s
        return _quiesce(place, options.for_s, options.force, patience_s)
    except AgentError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130


def seconds(text: str) -> float:
    """Of "90s", "10m", "2h" or plain seconds. Raises ArgumentTypeError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    amount = float(found[1]) * _UNITS[found[2] or "s"] if found else math.nan
    if not quiesce.SHORTEST_S <= amount <= quiesce.LONGEST_S:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected such as 90s, 10m or 2h, at least {quiesce.SHORTEST_S:g}s and at most 24h"
        )
    return amount


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fallow-agent", description=__doc__)
    words = parser.add_subparsers(dest="what", required=True)
    asked = words.add_parser("quiesce", description="Have the agent let go of every vendor's devices for a while.")
    asked.add_argument("--for", dest="for_s", type=seconds, required=True, metavar="TIME",
                       help="after which it comes back by itself, such as 10m; at most 24h")
    asked.add_argument("--force", action="store_true", help="also while leases hold devices of this node")
    over = words.add_parser("resume", description="Have the agent come back before the time is over.")
    for each in (asked, over):
        each.add_argument("--config", type=Path, metavar="FILE", help=f"the agent's; default {config.DEFAULT_PATH}")
    return parser


def _quiesce(place: Place, for_s: float, force: bool, patience_s: float) -> int:
    if (held := _held(place.run_dir)) and not force:
        return _fail(
            f"leases hold devices of this node: {'; '.join(held)}. Their work would go on and nobody would watch it; "
            f"wait for its end, or say --force"
        )
    order = Order(quiesce.boot_id(), boot_clock() + for_s, f"{_asker()} on the node")
    quiesce.write(place.order, order)
    answer = _wait(place, order, patience_s)
    if answer is None and locked.holder(place.spool_lock, _locks()) is not None:
        return _fail(
            f"the agent (its spool is locked by {place.spool_lock}) has not answered within {ANSWER_S:g} s; is it of "
            f"this release, and its run_dir {place.run_dir}? The order stands: `fallow-agent resume` takes it back"
        )
    stuck = [f"reader {told.name} is {told.state}: {told.message}" for told in answer.readers
             if not told.has_let_go] if answer else []
    stuck += [f"process {pid} holds the lock of reader {name}, and perhaps its devices"
              for name, pid in _holders(place.run_dir).items()]
    if stuck:
        return _fail(
            f"not all devices could be let go of: {'; '.join(stuck)}. The order stands, and the agent lets go as soon "
            f"as it can; look for tasks in state D. `fallow-agent resume` takes it back"
        )
    _say(_done(answer, for_s))
    return 0


def _done(answer: Answer | None, for_s: float) -> str:
    if answer is None:
        return f"no agent runs on this node, and no reader holds a device; one that starts within {for_s:.0f} s waits"
    return f"every vendor's reader has let go of its devices for {for_s:.0f} s: " + ", ".join(
        f"{told.name} {told.state}" for told in answer.readers
    )


def _resume(place: Place) -> int:
    was_quiesced = quiesce.remove(place.order)
    give_up = time.monotonic() + ANSWER_S
    runs = locked.holder(place.spool_lock, _locks()) is not None
    while runs and place.answer.exists() and time.monotonic() < give_up:
        time.sleep(LOOK_S)
    if runs and place.answer.exists():
        return _fail(f"the agent has not taken note within {ANSWER_S:g} s; is its run_dir {place.run_dir}?")
    quiesce.remove(place.answer)
    _say("the readers come back" if was_quiesced else "nothing was quiesced")
    return 0


def _wait(place: Place, order: Order, patience_s: float) -> Answer | None:
    """The agent's answer to this order: at once when all have let go, else the last one; None: it does not answer.

    Raises QuiesceError.
    """
    began = time.monotonic()
    found: Answer | None = None
    while time.monotonic() - began < (patience_s if found else ANSWER_S):
        answer = quiesce.read(place.answer, Answer)
        if answer is not None and answer.order == order:
            found = answer
            if all(told.has_let_go for told in answer.readers):
                break
        elif (standing := quiesce.read(place.order, Order)) not in (None, order):
            raise QuiesceError(f"another order took the place of this one, and that one stands: {standing.by} asked")
        elif locked.holder(place.spool_lock, _locks()) is None and time.monotonic() - began > NOBODY_S:
            break
        time.sleep(LOOK_S)
    return found


def _holders(folder: Path) -> dict[str, int]:
    """Processes that hold readers' locks, by reader."""
    locks = _locks()
    found = {name: locked.holder(folder / f"reader-{name}.lock", locks) for name in VENDORS}
    return {name: pid for name, pid in found.items() if pid is not None}


def _held(folder: Path) -> list[str]:
    """Devices that leases hold, as the agent shows them to scripts; what cannot be read is not held."""
    try:
        shown = prolog.read(str(folder / prolog.FILE), time.time())
    except prolog.Unreadable:
        return []
    return [
        f"{uuid} by {row['holder'] or 'nobody named'} (lease {row['lease_id'] or 'not named'})"
        for uuid, row in shown.devices.items() if row["held"]
    ]


def _asker() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an uid without a name, as in a container
        return f"uid {os.getuid()}"


def _locks() -> str:
    try:
        return locked.LOCKS.read_text(encoding="ascii")
    except OSError:
        return ""


def _say(text: str) -> None:
    sys.stdout.write(f"fallow-agent: {text}\n")


def _fail(text: str) -> int:
    sys.stderr.write(f"fallow-agent: {text}\n")
    return EXIT_FAILURE
